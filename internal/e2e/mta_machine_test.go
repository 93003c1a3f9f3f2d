package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// machineScript runs a command in a copy of this machine to which a package was
// added, as if it were installed. What the command writes is thrown away in the end,
// but for what is in the shared directory. Arguments: shared directory, package,
// users to add, command.
const machineScript = `set -eu
shared=$1 package=$2 users=$3
shift 3
over=$shared/machine
mkdir "$over"
mount -t tmpfs tmpfs "$over"
mkdir "$over/upper" "$over/work" "$over/root"
mount -t overlay -o "lowerdir=/,upperdir=$over/upper,workdir=$over/work" overlay "$over/root"
tar -C "$package" -c . | tar -C "$over/root" -x --keep-directory-symlink
id=64900
for user in $users; do
	id=$((id + 1))
	grep -q "^$user:" /etc/group || echo "$user:x:$id:" >>"$over/root/etc/group"
	grep -q "^$user:" /etc/passwd || echo "$user:x:$id:$id::/nonexistent:/usr/sbin/nologin" >>"$over/root/etc/passwd"
done
mount --rbind /dev "$over/root/dev"
mount -t proc proc "$over/root/proc"
mkdir -p "$over/root$shared"
mount --bind "$shared" "$over/root$shared"
chroot "$over/root" "$@"
exit $? # not exec: a set-user-ID program would not be killed with us
`

// inMachine makes a command that runs with an unpacked package installed. It has
// process numbers of its own: when it is killed, all that it started goes with it.
func inMachine(t *testing.T, shared, pkg, users string, command ...string) *exec.Cmd {
	t.Helper()
	tree, err := filepath.Abs(filepath.Join("../../.peers", pkg))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tree); err != nil {
		t.Fatalf("%v: make setup puts it there", err)
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", machineScript, "sh", shared, tree, users}
	return exec.Command("unshare", append(args, command...)...)
}
