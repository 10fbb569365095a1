#!/usr/bin/env bash
# Bundles the runtime of the page, once per version: the single-threaded WASM build of onnxruntime-web, and its licences.
# Needs node, npm and `make setup` (the Python package carries the licences, the npm package does not). What it writes is part of the repository and of the wheel.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts
node node_modules/esbuild/install.js
to=../compressors/export/web/vendor
from=node_modules/onnxruntime-web
mkdir -p "$to"
node_modules/.bin/esbuild ort.js --bundle --format=esm --minify --legal-comments=none --outfile="$to/ort.mjs"
gzip -9nc "$from/dist/ort-wasm-simd-threaded.wasm" > "$to/ort-wasm.bin"
version=$(node -p "require('./$from/package.json').version")
notices=$(ls ../.venv/lib/python*/site-packages/onnxruntime/{LICENSE,ThirdPartyNotices.txt})
{ echo "onnxruntime-web $version, https://github.com/microsoft/onnxruntime"; echo; cat $notices; } > "$to/LICENCES.txt"
