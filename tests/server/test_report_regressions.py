"""The tables of the regressions: odds ratios side by side, and how each model fits."""

from server.report.regressions import regression_tables


def model(*predictors, method="likelihood"):
    return {
        "method": method,
        "n": 180,
        "converged": True,
        "likelihood_ratio": {"chi2": 12.345, "df": len(predictors), "p": 0.0021},
        "aic": 240.5 if method == "likelihood" else None,
        "coefficients": [
            {"predictor": p, "odds_ratio": 1.62, "ci": [1.21, 2.17], "p": 0.001, "vif": 1.204}
            for p in predictors
        ],
    }


def results(**changes):
    found = {
        "univariable": {"age": model("age"), "t_stage": model("t_stage", method="firth")},
        "multivariable": model("age", "t_stage"),
        "by_site": None,
    }
    return {"clinical": {"regressions": found | changes}}


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_a_predictor_has_its_odds_ratio_alone_together_and_by_site():
    table, _ = regression_tables(results(by_site=model("age", "t_stage")))
    ratio = "1.62 (1.21–2.17)"
    assert texts(table)[0] == ["Age", ratio, ".001", ratio, ".001", "1.20", ratio, ".001"]
    assert table.rows[0][1].values == {"": 1.62, "low": 1.21, "high": 2.17}


def test_a_model_by_site_that_is_none_is_a_dash_and_said():
    table, _ = regression_tables(results())
    assert texts(table)[0][-2:] == ["–", "–"]
    assert "could not be estimated" in table.notes[1]


def test_every_regression_has_its_likelihood_ratio_and_firths_has_no_aic():
    _, fit = regression_tables(results())
    assert texts(fit) == [
        ["Age alone", "maximum likelihood", "180", "12.35", "1", ".002", "240.50"],
        ["T stage alone", "Firth's penalised likelihood", "180", "12.35", "1", ".002", "–"],
        ["Multivariable", "maximum likelihood", "180", "12.35", "2", ".002", "240.50"],
    ]


def test_firths_penalty_is_said_where_it_was_used():
    table, _ = regression_tables(results())
    assert table.notes[-1].startswith("Labels are separated")
    assert "T stage alone" in table.notes[-1]


def test_results_of_an_earlier_release_have_no_such_tables():
    assert regression_tables({"clinical": {"n": 5, "coefficients": []}}) == []
