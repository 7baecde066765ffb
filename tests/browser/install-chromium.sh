#!/bin/sh
# Install Debian's Chromium for the browser tests, unless there is a Chromium or Chrome already.
set -eu
for name in "${MAGNOSCOPE_CHROMIUM:-chromium}" chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null 2>&1; then exit 0; fi
done
if command -v apt-get > /dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing Chromium for the browser tests"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq < /dev/null \
        && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core < /dev/null > /dev/null; then
        exit 0
    fi
fi
echo "the browser tests need Chromium: as root run 'apt-get install chromium', or install Chromium or Chrome" >&2
echo "otherwise and name it in MAGNOSCOPE_CHROMIUM; without it these tests are skipped" >&2
exit 1
