# SPDX-License-Identifier: Apache-2.0
"""What `make install` installs, for a test."""
import os
import pathlib
import subprocess

import family

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = family.BIN.parent


def run(*command, **how):
    done = subprocess.run([str(c) for c in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=110, check=False, **how)
    return done.returncode, done.stdout


def install(destination, prefix="/usr"):
    status, said = run("make", "install", f"DESTDIR={destination}", f"PREFIX={prefix}", f"BUILD={BUILD}",
                       f"SANITIZE={BUILD.name if family.SANITIZED else ''}",  # should anything have to be linked anew
                       env=dict(os.environ, MAKEFLAGS=""))
    assert status == 0, said
    return destination
