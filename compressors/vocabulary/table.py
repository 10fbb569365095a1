"""The certificate as a page that people read."""

from ndogo.compressors.vocabulary.certificate import Certificate


def certificate_table(certificate: Certificate) -> str:
    """Markdown: one table, and a sentence where something needs saying."""
    held_out = certificate.held_out
    rows = [
        ("pieces", f"{certificate.pieces_before:,}", f"{certificate.pieces_after:,}"),
        ("rows of the embedding", f"{certificate.rows_before:,}", f"{certificate.rows_after:,}"),
        ("pieces per word", f"{held_out.fertility_before:.4f}", f"{held_out.fertility_after:.4f}"),
        ("unknown pieces", f"{held_out.unknown_before:.4%}", f"{held_out.unknown_after:.4%}"),
    ]
    checks = [
        ("running pieces kept, counted text", f"{certificate.counted_coverage:.4%}"),
        ("running pieces kept, held-out text", f"{held_out.coverage:.4%}"),
        ("held-out lines whose pieces were all kept", f"{held_out.covered:,} of {held_out.lines:,}"),
        ("of these, split exactly as before", _share(held_out.covered_identical, held_out.covered)),
        ("all held-out lines, split exactly as before", _share(held_out.identical, held_out.lines)),
        ("kept rows, biases and all other tensors", "equal, bit for bit" if certificate.rows_equal else "NOT EQUAL"),
        (f"{certificate.compared}, {certificate.compared_lines} covered lines", _difference(certificate)),
    ]
    if certificate.other_files:
        files = ", ".join(certificate.other_files)
        before = certificate.other_files_equal_before
        remark = "" if before is None else f" (before: {before:.4%})"
        checks.append(
            (f"same ids from {files} alone", f"{certificate.other_files_equal:.4%} of the held-out lines{remark}")
        )
    lines = ["# Certificate of a trimmed vocabulary", "", "| | before | after |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {before} | {after} |" for name, before, after in rows]
    lines += ["", "| check | found |", "| --- | ---: |"]
    lines += [f"| {name} | {found} |" for name, found in checks]
    return "\n".join([*lines, "", *_remarks(certificate)]) + "\n"


def _remarks(certificate: Certificate) -> list[str]:
    scripts = ", ".join(f"{script} {share:.2%}" for script, share in certificate.scripts.items() if share >= 0.0001)
    said = [
        f"Counted: {certificate.counted_pieces:,} pieces in {certificate.counted_lines:,} lines. Letters: {scripts or 'none'}.",
        f"Always kept: {certificate.specials:,} special pieces, and {certificate.forced:,} ordinary ones "
        "(characters of the scripts seen, digits, punctuation, bytes, the keep list, and what these need).",
    ]
    if certificate.fewer_than_asked:
        said.append(
            f"{certificate.asked:,} pieces were asked for, but the corpus uses only {certificate.used_by_corpus:,}: "
            f"{certificate.pieces_after - certificate.specials:,} were kept, the always kept ones included."
        )
    return [part for remark in said for part in (remark, "")]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4%}" if whole else "no such line"


def _difference(certificate: Certificate) -> str:
    found = certificate.relative_difference
    return "no line to compare" if found is None else f"differ by at most {found:.1e}, relative"
