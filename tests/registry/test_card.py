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


def test_a_card_also_gives_the_size_against_the_trimmed_teacher():
    steps = [StepFacts("original", "teacher", 200, 0.8), StepFacts("trim", "trim", 100, 0.4, ratio_trimmed=1.25)]
    text = body(Facts("mama/small", "Swahili", "swa", "BertForMaskedLM", "steps: []", steps, [], None))
    assert (
        "2.0 times fewer parameters than its teacher (100 of 200), and 1.2 times fewer than the teacher trimmed" in text
    )
