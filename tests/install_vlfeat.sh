#!/bin/sh
# Install cyvlfeat, with which the parity tests compare: its system library where we may, then its source.
# Usage: install_vlfeat.sh PYTHON. Without it parity is skipped, loudly; in CI that is a failure.
set -u
python=$1

"$python" -c "import cyvlfeat.hog" 2>/dev/null && exit 0

if [ ! -e /usr/include/vl/hog.h ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -y -qq libvlfeat-dev >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq libvlfeat-dev >/dev/null; }
fi

if "$python" -m pip install --quiet "cython<3" numpy setuptools wheel &&
    "$python" -m pip install --quiet --no-build-isolation cyvlfeat; then
    exit 0
fi

echo "*** cyvlfeat could not be installed: parity with VLFeat will NOT be tested." >&2
echo "*** It needs VLFeat's headers (Debian: apt-get install libvlfeat-dev)." >&2
[ "${CI:-}" != true ]
