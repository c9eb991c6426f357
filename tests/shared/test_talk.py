import pytest

from shared.errors import CODES, CodecError
from shared.letter import Letter, read, written
from shared.stages.roll_call import SiteName
from shared.talk import (
    Ticket,
    Working,
    asked,
    at_work,
    question,
    refusal,
    refused,
    still_at_work,
    wait_for,
    waited_for,
)

RUN, TICKET = "0f" * 16, "ab" * 32


def test_a_question_says_which_and_of_which_run_and_holds_the_request():
    ask, letter = asked(question("hello", RUN, SiteName("site_a")))
    assert (ask.name, ask.run) == ("hello", RUN)
    assert read(SiteName, letter) == SiteName("site_a")


def test_a_wait_letter_says_what_it_waits_for():
    assert waited_for(wait_for(Ticket(RUN, TICKET))) == Ticket(RUN, TICKET)


def test_a_site_at_work_says_how_far_it_is():
    working = Working(TICKET, "branch_2_5d, epoch", 3, 10)
    assert still_at_work(at_work(working)) == working


@pytest.mark.parametrize("text", ["DOE^JOHN", "a\nb", "x" * 81, "é"])
def test_words_of_another_kind_do_not_travel_as_progress(text):
    found = still_at_work(at_work(Working(TICKET, text, 0, 1)))
    assert found == Working(TICKET, "at work", 0, 1)


def test_an_answer_is_neither_a_refusal_nor_work():
    answer = written(SiteName("site_a"))
    assert refused(answer) is None
    assert still_at_work(answer) is None


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_refusal_has_its_code(code):
    assert refused(refusal(code)) == code


UNFIT = {
    "no question": (asked, written(SiteName("a"))),
    "a run that is a path": (asked, question("hello", "../../etc", SiteName("a"))),
    "a question with more": (asked, Letter({"ask": {"name": "a", "run": RUN, "x": 1}}, {})),
    "a number for a name": (asked, Letter({"ask": {"name": 1, "run": RUN}}, {})),
    "a wait with more": (waited_for, Letter({"wait": {"run": RUN, "ticket": TICKET}, "b": {}}, {})),
    "a ticket that is none": (waited_for, wait_for(Ticket(RUN, "x"))),
    "more done than there is": (still_at_work, at_work(Working(TICKET, "", 2, 1))),
    "less than nothing done": (still_at_work, at_work(Working(TICKET, "", -1, 1))),
    "a name as progress": (
        still_at_work,
        Letter({"working": {"ticket": TICKET, "what": "DOE^JOHN", "done": 0, "total": 1}}, {}),
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_letter_of_another_form_is_refused(what):
    kind, letter = UNFIT[what]
    with pytest.raises(CodecError):
        kind(letter)
