#!/bin/sh
# Install Chromium and its driver, with which the pages are tested, where we may. Without them those tests are skipped;
# in CI that fails.
set -u

command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } &&
        exit 0
fi

echo "*** Chromium and its driver could not be installed: the pages will NOT be tested in a browser." >&2
echo "*** Install them by hand (Debian: apt-get install chromium chromium-driver)." >&2
