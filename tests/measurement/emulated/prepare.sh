#!/bin/sh
# Puts an aarch64 device into a folder: Debian's Python for arm64, and the aarch64 wheels of numpy, Pillow and onnxruntime.
# Needs apt-get, dpkg-deb, qemu-user-static and pip (the interpreter is the second argument). Nothing is installed.
#   prepare.sh FOLDER PYTHON
set -eu
folder=$(mkdir -p "$1" && cd "$1" && pwd)
python=$2
[ -f "$folder/ready" ] && exit 0

apt=$folder/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
: > "$apt/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$key] http://deb.debian.org/debian bookworm main" > "$apt/sources.list"
arm64() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$apt" \
    -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" \
    -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null "$@"
}
arm64 update
arm64 install -y --no-install-recommends --download-only python3.11-minimal libpython3.11-stdlib libstdc++6 > /dev/null
for package in "$apt"/cache/archives/*.deb; do
  dpkg-deb -x "$package" "$folder/root"
done

"$python" -m pip install -q --target "$folder/site" --only-binary=:all: --no-deps --python-version 3.11 \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64 'onnxruntime>=1.20,<2' 'numpy>=1.26,<3' 'pillow>=11'

# The interpreter starts itself for each worker, and no kernel here need know how to start an arm64 program: a script
# does. /sys is hidden but for two cores: onnxruntime 1.32 reads the caches of the x86 host there, and falls over a NULL.
cat > "$folder/python" <<SCRIPT
#!/bin/sh
export PYTHONHOME=$folder/root/usr PYTHONPATH=$folder/site PYTHONDONTWRITEBYTECODE=1
exec qemu-aarch64-static -0 $folder/python -L $folder/root $folder/root/usr/bin/python3.11 "\$@"
SCRIPT
cat > "$folder/device" <<SCRIPT
#!/bin/sh
exec unshare -rm sh -c '
  mount -t tmpfs none /sys && mkdir -p /sys/devices/system/cpu &&
  echo 0-1 > /sys/devices/system/cpu/possible && echo 0-1 > /sys/devices/system/cpu/present && exec "\$@"' \
  device $folder/python "\$@"
SCRIPT
chmod +x "$folder/python" "$folder/device"
touch "$folder/ready"
