import pytest

from client.forecast.forecast import forecast
from client.forecast.mode import mode_words
from client.forecast.words import long_lines, short_lines


def fused(study, change, mode, **dp):
    return change(study, fusion={"exchange": mode, "penalties": [3.0], "dp": dp})


@pytest.mark.parametrize("mode", ["embeddings", "scores", "statistics"])
def test_a_mode_without_noise_is_said_to_have_no_epsilon(study, change, mode):
    words = mode_words(fused(study, change, mode))
    assert f"mode {mode}:" in words
    assert "epsilon is infinite" in words


def test_a_mode_with_noise_is_said_with_its_epsilon_in_the_dry_run(
    tmp_path, study, change, make_site
):
    asked = fused(study, change, "statistics+dp", epsilon=2.0)
    found = forecast(asked, make_site(tmp_path, n=2))
    (told,) = (each for each in found.answers if each.question == "fusion_noised")
    assert (told.epsilon, told.times) == (2.0, 3)
    assert {each.question for each in found.answers}.isdisjoint(
        {"embed_rows", "fusion_steps", "fusion_moments", "fusion_losses", "fusion_scores"}
    )
    assert not found.refusals
    for lines in (short_lines(found), long_lines(found)):
        text = " ".join(lines)
        assert "mode statistics+dp" in text
        assert "epsilon 2 at delta 1e-05 at most" in text


def test_an_external_site_fits_no_layer(tmp_path, study, make_site):
    found = forecast(study, make_site(tmp_path, n=2, name="site_d", role="external"))
    assert found.mode == ""
