"""What descriptions and delays say of the phase, as hospitals write them."""

import pytest

from client.draft.phase_words import (
    is_elsewhere,
    is_sharp,
    looks_like_tumour,
    phases_after,
    said,
)

DESCRIPTIONS = {
    "unenhanced": [
        "Abdomen N 5.0 B30f", "平扫", "PLAIN", "NATIVE", "ABD W/O", "without contrast",
        "Non-contrast",
        "Unenhanced 5mm", "ABD C-", "腹部平扫5mm", "noncontrastPhase", "非增强", "Abd nativ 3.0",
        "W/O IV CONTRAST",
    ],
    "corticomedullary": [
        "Abdomen A 1.0 B30f", "动脉期", "ARTERIAL", "ART 1.25mm", "ART1.25", "皮质期", "皮髓期",
        "early", "LATE ARTERIAL", "Corticomedullary_3mm", "ArterialPhase", "增强ART期", "30s 1mm",
        "动脉晚期", "30 sec",
    ],
    "nephrographic": [
        "Abdomen V 1.0 B30f", "静脉期", "PORTAL VENOUS", "门静脉期", "门脉期", "实质期", "肾实质期",
        "NEPHRO", "Venous 1.0 B30f", "PVP", "70 s", "70 SEC DELAY", "静脉期 70秒", "PORTAL",
    ],
    "excretory": [
        "Abdomen D 1.0 B30f", "延迟期", "5 MIN DELAY", "5 min", "DELAY", "UROGRAPHIC", "排泄期",
        "分泌期", "延迟5分钟", "Excretory phase", "8mins", "Late 3mm", "300s",
    ],
}  # fmt: skip
SILENT = [
    "", "CT body 5.0mm", "平扫+增强", "Abdomen w/o and w contrast", "C A P", "CT A/P",
    "Abdomen 3 D",
    "ARTERIAL + VENOUS", "Br40d 3", "a 1.0 B30s", "主动脉CTA", "Abdomen +C", "120 kV 5 mm", "0.5s",
    "three-phase", "A V D",
]  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "text"), [(phase, text) for phase, texts in DESCRIPTIONS.items() for text in texts]
)
def test_a_description_names_its_phase(phase, text):
    assert said(text).phase == phase, said(text)


@pytest.mark.parametrize("text", SILENT)
def test_a_description_of_none_or_several_names_no_phase(text):
    assert said(text).phase is None, said(text)


def test_only_our_own_words_are_told():
    assert said("Canary^Name arterial 7").words == ("arterial",)


def test_chinese_in_a_file_that_claims_latin_letters_is_read():
    assert said("动脉期".encode("gb18030").decode("latin-1")).phase == "corticomedullary"


@pytest.mark.parametrize(
    ("delay_s", "phases"),
    [
        (-240, ("unenhanced",)),
        (0, ("unenhanced", "corticomedullary")),
        (20, ("corticomedullary",)),
        (45, ("corticomedullary",)),
        (50, ("corticomedullary", "nephrographic")),
        (55, ("nephrographic",)),
        (120, ("nephrographic",)),
        (150, ("nephrographic", "excretory")),
        (180, ("excretory",)),
        (7000, ()),
    ],
)
def test_a_delay_allows_one_phase_or_two(delay_s, phases):
    assert phases_after(delay_s) == phases


@pytest.mark.parametrize(
    "name", ["Tumour", "tumor_1", "GTVp", "Bladder lesion", "MASS", "膀胱肿瘤"]
)
def test_names_of_tumours(name):
    assert looks_like_tumour(name)


@pytest.mark.parametrize("name", ["BODY", "bladder", "peritumoral", "massage"])
def test_names_of_other_rois(name):
    assert not looks_like_tumour(name)


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [("B30f", False), ("B70s", True), ("Br40d", False), ("Bl57", True), ("LUNG", True),
     ("STANDARD", False), ("FC08", False), ("FC51", True), ("BONEPLUS", True), ("", None)],
)  # fmt: skip
def test_kernels(kernel, sharp):
    assert is_sharp(kernel) is sharp


def test_parts_of_the_body():
    assert is_elsewhere("Thorax A 1.0 CHEST")
    assert not is_elsewhere("Thorax Abdomen A 1.0")
    assert not is_elsewhere("A 1.0")
