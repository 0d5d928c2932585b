#!/bin/sh
# Install Chromium, in which the pages are tested, where we may. Without it those tests are skipped; in CI that fails.
set -u

command -v chromium >/dev/null || command -v google-chrome >/dev/null && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } && exit 0
fi

echo "*** Chromium could not be installed: the pages will NOT be tested in a browser." >&2
echo "*** Install it by hand (Debian: apt-get install chromium)." >&2
