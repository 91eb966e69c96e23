"""Write the project's conformance vectors: ``python tests/vectors/regenerate.py [--check]``.

The expected values come from ``reference.py`` and from literals, never from Lockstep itself, so a
vector that differs means that one of the two is wrong. ``--check`` writes nothing and exits 1
when a file is not what this script would write.
"""

import json
import sys
from pathlib import Path

import cases_bytes
import cases_chains
import cases_gates
import cases_trust

HERE = Path(__file__).parent
FILES = {
    "encoding.json": cases_bytes.encoding,
    "derived-hashes.json": cases_bytes.derived,
    "lineage.json": cases_bytes.lineage,
    "trace.json": cases_chains.trace,
    "wal.json": cases_chains.wal,
    "checkpoint.json": cases_chains.checkpoint,
    "ed25519.json": cases_trust.ed25519,
    "certificate.json": cases_trust.certificate,
    "promotion.json": cases_trust.promotion,
    "gates.json": cases_gates.gates,
    "dsse.json": cases_gates.dsse,
}


def text_of(name: str) -> str:
    """The file as it must stand: one vector a line, so that a change shows as one line."""
    prefix = name.removesuffix(".json")
    named = [{**row, "id": f"{prefix}/{row['id']}"} for row in FILES[name]().rows]
    rows = ",\n".join(json.dumps(row, ensure_ascii=True) for row in named)
    return '{"schema_version": "lockstep.vectors.v1", "vectors": [\n' + rows + "\n]}\n"


def main(arguments: list[str]) -> int:
    stale = []
    for name in FILES:
        path, text = HERE / name, text_of(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"{', '.join(stale)}: run python tests/vectors/regenerate.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
