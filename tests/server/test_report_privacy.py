from server.report.privacy import fusion_privacy_line, privacy_line


def told(**sites):
    return {site: {"epsilon": value, "delta": 1e-5, "history": []} for site, value in sites.items()}


def test_without_dp_the_weights_have_no_guarantee():
    line = privacy_line({"branches": {"flat": {"rounds": [], "privacy": None}}})
    assert "CNN weights carry no formal guarantee (epsilon = infinity)" in line


def test_results_of_an_earlier_release_say_the_same():
    assert "epsilon = infinity" in privacy_line({"branches": {"flat": {"rounds": []}}})


def test_each_site_has_its_epsilon_and_a_patient_the_largest():
    line = privacy_line({"branches": {"flat": {"privacy": told(site_a=4.333, site_b=6.137)}}})
    assert "site_a 4.33 and site_b 6.14 (delta 1e-05)" in line
    assert "6.14 at most for any patient" in line
    assert "infinity" not in line
    assert "not covered" in line
    assert "loss was not told" in line


def test_networks_of_one_patient_add_up():
    branches = {name: {"privacy": told(site_a=3.0)} for name in ("flat", "deep")}
    assert "their epsilons add up" in privacy_line({"branches": branches})
    line = privacy_line({"branches": branches, "privacy": told(site_a=4.567, site_b=4.1)})
    assert "together their epsilon is 4.57 at most" in line


def test_without_networks_nothing_is_said():
    assert privacy_line({"branches": {}}) == ""


def test_the_fusion_layers_mode_is_named_with_its_epsilon_or_that_there_is_none():
    fusion = {"exchange": "statistics+dp", "privacy": told(site_a=2.9, site_b=2.9)}
    line = fusion_privacy_line({"fusion": fusion})
    assert "mode statistics+dp" in line
    assert "site_a 2.90 and site_b 2.90 (delta 1e-05)" in line
    assert "not what the networks" in line
    plain = fusion_privacy_line({"fusion": {"exchange": "scores", "privacy": None}})
    assert "mode scores" in plain
    assert "epsilon = infinity" in plain
    assert fusion_privacy_line({}) == ""
    rows = {"exchange": "scores", "delete_rows_by": "2031-05-01"}
    assert "deleted by 2031-05-01" in fusion_privacy_line({"fusion": rows})
