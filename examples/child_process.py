"""A model that is a process: slow to load, dying, hanging.

python examples/child_process.py                                          model processes of the lab
python examples/child_process.py llama-cli -m model.gguf -p 'Hello'       a real one
"""

from __future__ import annotations

import sys

import hangtight

LAB = [sys.executable, "-m", "hangtight", "lab", "child", "--tokens", "12"]


def run(command: list[str], *, idle: float = 45) -> None:
    output = hangtight.child(command, idle=idle, model="the process")
    try:
        for text in output:
            print(text, end="", flush=True)
    except hangtight.GenerationTimeout as late:
        print(f"\n{type(late).__name__}: {late}")
    except hangtight.BackendError as dead:
        print(f"\n{type(dead).__name__}: {dead}")
    else:
        print(f"\n{output.outcome}: {len(output.partial.split())} words in {output.elapsed:.1f}s")


def main() -> None:
    if len(sys.argv) > 1:
        run(sys.argv[1:])
        return
    run([*LAB, "--load", "2"], idle=1)
    run([*LAB, "--die-after", "3", "--exit-code", "3", "--stderr", "out of memory"], idle=1)
    run([*LAB, "--mute-after", "5", "--grandchild"], idle=1)


if __name__ == "__main__":
    main()
