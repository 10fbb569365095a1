"""The latency line: arithmetic only; how fast a machine is cannot be tested."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ndogo.compressors.latency import Line, calibrate, fit, probes, terms
from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import shape_of
from ndogo.core.models import load_config
from ndogo.core.progress import silent
from ndogo.registry.teachers import teacher


def test_the_line_is_found_again_from_its_own_points():
    config = teacher("xlm-roberta-base").config
    counter, shapes = Counter(config), probes(config)
    factors = (0.8, 0.3, 2e-4, 1.5e-6)
    found = fit(shapes, [float(np.dot(factors, terms(s, counter))) for s in shapes], counter)
    assert found.factors == pytest.approx(factors, rel=1e-6)
    assert found(shape_of(config)) == pytest.approx(0.8 + 12 * (0.3 + 2e-4 * 768 + 1.5e-6 * 7_087_872))


def test_no_factor_is_negative_whatever_was_measured():
    config = teacher("xlm-roberta-base").config
    found = fit(probes(config), [9.0, 3.0, 2.0, 8.0, 1.0, 5.0, 4.0, 6.0, 2.0], Counter(config))
    assert min(found.factors) >= 0 and max(found.factors) > 0


def test_the_vocabulary_makes_no_difference_and_depth_does():
    config = teacher("xlm-roberta-base").config
    line, whole = Line((1.0, 0.5, 1e-4, 1e-6), Counter(config)), shape_of(config)
    assert line(replace(whole, vocab=1_000)) == line(whole) > line(replace(whole, layers=6))


def test_measuring_gives_threads_and_randomness_back(any_pico):
    config = load_config(any_pico)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    line = calibrate(config, Counter(config), silent)
    assert line(shape_of(config)) > 0
    assert torch.get_num_threads() == before and torch.equal(torch.get_rng_state(), state)
