"""`make docs`: the site of the documents, in var/site. Any broken link, stale reference or warning ends it with 1.

python -m docs.site.build              builds
python -m docs.site.build --reference  writes what is made from the code anew: SETTINGS.md, FUNCTIONS.md, COMMANDS.md,
                                   METRICS.md
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from docs.site.assemble import BrokenLinks, assemble
from docs.site.pages import ROOT
from docs.site.reference import stale, write

SOURCES = ROOT / "var" / "site-sources"
SITE = ROOT / "var" / "site"


def build(site: Path = SITE, sources: Path = SOURCES) -> None:
    """Build the site. Raises BrokenLinks, or CalledProcessError when Sphinx warned."""
    assemble(sources)
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--nitpicky"]
    command += ["--quiet", "--fresh-env", "--conf-dir", str(Path(__file__).parent), "--doctree-dir", f"{sources}.read"]
    subprocess.run([*command, str(sources), str(site)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", action="store_true", help="write the documents that are made from the code")
    if parser.parse_args().reference:
        write()
        return
    if old := stale():
        sys.exit(f"{', '.join(old)}: not what the code says today; `make reference` writes it anew.")
    try:
        build()
    except BrokenLinks as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    sys.stdout.write(f"{SITE / 'index.html'}\n")


if __name__ == "__main__":
    main()
