"""What a run tells while it goes on."""

import logging

from server.progress import LoggedProgress


def test_work_that_is_not_counted_is_told_without_numbers_and_not_again_and_again(caplog):
    progress = LoggedProgress()
    with caplog.at_level(logging.INFO, "trifed.run"):
        progress.site_works("site_a", "train_branch", 0, 0)
        progress.site_works("site_a", "train_branch", 0, 0)
        progress.site_works("site_a", "images", 3, 12)
        progress.site_works("site_a", "images", 12, 12)
    assert caplog.messages == [
        "site_a: train_branch",
        "site_a: images 3/12",
        "site_a: images 12/12",
    ]
