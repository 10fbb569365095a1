"""Rows become rectangles: nothing lost, padding marked, rows of like length together."""

import numpy as np

from ndogo.core.batches import by_length, pad


def test_rows_are_padded_on_the_right():
    ids, real = pad([[5, 6, 7], np.array([8], np.int32)], 1)
    assert ids.dtype == np.int64 and ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert real.tolist() == [[True, True, True], [True, False, False]]
    wide, same = pad([[5], [6, 7]], 0, 4)
    assert wide.tolist() == [[5, 0, 0, 0], [6, 7, 0, 0]] and same.sum(1).tolist() == [1, 2]


def test_rows_of_like_length_share_a_batch():
    lengths = np.array([4, 2, 9, 2, 7])
    assert [batch.tolist() for batch in by_length(np.array([4, 3, 0, 1]), lengths, 3)] == [[3, 1, 0], [4]]
    assert [batch.tolist() for batch in by_length(np.arange(5), -lengths, 2)] == [[2, 4], [0, 1], [3]]
    assert [batch.tolist() for batch in by_length(np.arange(2), lengths, 8)] == [[1, 0]]
