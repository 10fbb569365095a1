"""What a card says of a run that is not like most."""

from ndogo.registry.card import Facts, StepFacts, body


def test_a_benchmark_that_could_not_be_judged_is_named_with_its_reason():
    steps = [StepFacts("original", "teacher", 200, 0.8), StepFacts("trim", "trim", 100, 0.4)]
    problems = {"pos": "There are no rows.\n  where: the hub"}
    text = body(
        Facts("mama/small", "Swahili", "swa", "BertForMaskedLM", "steps: []", steps, [], None, problems=problems)
    )
    assert "- Not judged: pos: There are no rows.\n\n" in text
    assert "2.0 times fewer parameters" in text
