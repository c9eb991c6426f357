"""Training sites in memory that answer secure sums, each with identity and keys on disk."""

from types import SimpleNamespace

from client.secagg.answers import SECURE, masked_answer
from server.federation import settle
from shared.codec import pack, unpack
from shared.config import Study
from shared.errors import TrifedError
from shared.stages.secure_sums import SUMMED, masked_question
from shared.strict_yaml import parse_settings
from tests.conftest import STUDY, changed
from tests.site_policies import made_policy

NAMES = ("site_a", "site_b", "site_c")
KEYING = "0f" * 16
OF = {masked_question(question).name: question for question in SUMMED}


def study_of(*sites):
    """The small study with these training sites."""
    plain = parse_settings(STUDY, Study, name="study.yaml")
    return changed(plain, sites={"training": list(sites or NAMES), "external": []})


def bench_of(folder, name, study=None):
    """A site that keeps its files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    site = SimpleNamespace(name=name, folder=folder, cache_folder=folder / "cache")
    site.policy = made_policy()
    return SimpleNamespace(site=site, study=study or study_of())


class Sites:
    """A federation of such sites; every question and answer goes through the codec.

    Args:
        answer: Gives a site's own numbers by its name and the request.
    """

    def __init__(self, folder, answer, names=NAMES):
        self.benches = {name: bench_of(folder / name, name, study_of(*names)) for name in names}
        self.asked = []
        self.seen = []
        self._answer = answer

    def ask(self, question, request, sites, *, quorum=None):
        self.asked.append(question.name)
        replies, codes = {}, {}
        for site in sorted(sites):
            try:
                found = self._one(site, question, unpack(question.request, pack(request)))
            except TrifedError as error:
                codes[site] = error.code
            else:
                replies[site] = unpack(question.reply, pack(found))
        self.seen.append(replies)
        return settle(question.name, replies, codes, quorum)

    def _one(self, site, question, request):
        answer = SECURE[question.name][1]
        if question.name in OF:
            answer = masked_answer(OF[question.name], lambda asked, _: self._answer(site, asked))
        return answer(request, self.benches[site])
