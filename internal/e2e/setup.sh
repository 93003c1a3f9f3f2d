#!/bin/sh
# Installs the Debian packages named on the command line that are missing. Those
# behind --unpack conflict with others here: each is unpacked into a directory of
# its name below .peers, and the libraries that it needs are installed.
set -eu
cd "$(dirname "$0")/../.."
wanted='' unpack='' behind=
for package in "$@"; do
	case $package in
	--unpack) behind=yes ;;
	*) if [ "$behind" ]; then unpack="$unpack $package"; else wanted="$wanted $package"; fi ;;
	esac
done

export DEBIAN_FRONTEND=noninteractive
updated=
update() {
	[ "$updated" ] || apt-get update -q >/dev/null
	updated=yes
}

# prepare NAMES... ends the script if packages cannot be had here.
prepare() {
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "make test talks to real mail programs; install: $*" >&2
		exit 1
	fi
	update
}

policy=/usr/sbin/policy-rc.d
ours=
temporary=
trap 'if [ "$ours" ]; then rm -f $policy; fi; if [ "$temporary" ]; then rm -rf "$temporary"; fi' EXIT

# install NAMES... installs those that are missing.
install() {
	missing=
	for package in "$@"; do
		dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
	done
	[ "$missing" ] || return 0
	# shellcheck disable=SC2086
	prepare $missing
	# No package may start a daemon here: the tests start their own.
	if [ ! -e $policy ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	# shellcheck disable=SC2086
	apt-get install -q -y --no-install-recommends $missing >/dev/null
}

# shellcheck disable=SC2086
install $wanted

for peer in $unpack; do
	[ -e ".peers/$peer" ] && continue
	prepare "$peer"
	temporary=$(mktemp -d)
	(cd "$temporary" && apt-get download -q -o APT::Sandbox::User=root "$peer" >/dev/null)
	# shellcheck disable=SC2046
	install $(dpkg-deb -f "$temporary"/*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ :(|]*\).*/\1/p')
	mkdir -p .peers
	dpkg-deb -x "$temporary"/*.deb "$temporary/tree"
	mv "$temporary/tree" ".peers/$peer"
	rm -rf "$temporary"
	temporary=
done
