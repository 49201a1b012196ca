"""Build the wheel, install it alone in a new environment, and run the tests against it with `src/` out of reach.

Also checks the two faces of a bare install: the library works without any dependency, and the command says what
it lacks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
SETTINGS = ("config.example.yaml", ".env.example")
TAKEN_ALONG = ("tests", "docs", "examples", "benchmarks", "pyproject.toml", "Makefile", *SETTINGS, *PAGES)

SEEN_ALREADY = (
    "--ignore=tests/clients",
    "--ignore=tests/testing",
    "--ignore=tests/gateway/test_security.py",
    "--ignore-glob=tests/gateway/test_[!s]*.py",
    "--ignore-glob=tests/gateway/*/*",
    "--ignore=tests/journal/test_outages.py",
    "--ignore=tests/journal/test_processes.py",
    "--ignore-glob=tests/supervisor/test_[!f]*.py",
    "--ignore=tests/acceptance/test_s4.py",
    "--ignore=tests/flows/test_workers.py",
    "--ignore=tests/flows/test_killed.py",
    "--ignore=tests/cli/test_model.py",
    "--ignore=tests/cli/test_flow_lives.py",
    "--ignore=tests/flows/test_zombies.py",
    "--ignore=tests/flows/test_left_running.py",
    "--ignore=tests/flows/test_begun.py",
)
"""What takes minutes and has been tested from the source: whether it is in the wheel, the others show."""

PLAINLY = "not slow and not ollama and not vllm and not gpu and not torch and not browser"

BARE = """
import sys, hangtight
assert "src" not in hangtight.__file__.split("/"), hangtight.__file__
assert list(hangtight.watch(iter(["a", "b"]))) == ["a", "b"]
assert "".join(hangtight.child([sys.executable, "-c", "print(1)"])).strip() == "1"
from hangtight.testing.lab import Lab
with Lab() as lab:
    assert hangtight.generate("Why?", url=f"{lab.url}/v1", model="tokens=3,rate=400").split()
try:
    hangtight.http.client()
except hangtight.HangtightError as lacking:
    assert "pip install httpx2" in str(lacking)
third = [name for name in sys.modules if name.partition(".")[0] in ("typer", "rich", "httpx", "pydantic", "openai")]
assert not third, third
"""


def run(*command: str | Path, cwd: Path, expect: int = 0) -> str:
    print("+", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != expect:
        sys.exit(f"{done.stdout}\nexit code {done.returncode}, expected {expect}")
    return done.stdout


def environment(place: Path) -> Path:
    venv.create(place, with_pip=True)
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "pip>=25.1", "build", cwd=place)
    return python


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hangtight-wheel-") as folder:
        work = Path(folder)
        python = environment(work / "env")
        run(python, "-m", "build", "--wheel", "--outdir", work / "dist", ROOT, cwd=work)
        wheel = next((work / "dist").glob("*.whl"))
        run(python, "-m", "pip", "install", "--quiet", wheel, cwd=work)
        run(python, "-c", BARE, cwd=work)
        said = run(python.parent / "hangtight", "--help", cwd=work, expect=2)
        assert "pip install 'hangtight[cli]'" in said, said
        run(
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            f"{wheel}[gateway,flows]",
            "--group",
            f"{ROOT}/pyproject.toml:test",
            cwd=work,
        )
        tree = work / "tree"
        tree.mkdir()
        for name in TAKEN_ALONG:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)
        told = run(python, "-m", "pytest", "-q", "-m", PLAINLY, *SEEN_ALREADY, cwd=tree)
        print(told[-2000:], flush=True)


if __name__ == "__main__":
    main()
