// Package packaging tests what packages are made of.
package packaging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// "make install" brings all that belongs to a command, and units that systemd takes.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("make", "-C", "..", "install", "PREFIX=/usr", "DESTDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{
		"bin/rtls-send", "bin/rtls-lda", "bin/rtls-lda-full", "bin/rtls-imapd",
		"share/man/man1/rtls-send.1", "share/man/man5/rtls.toml.5", "share/man/man8/rtls-lda.8", "share/man/man8/rtls-lda-full.8", "share/man/man8/rtls-imapd.8",
		"share/bash-completion/completions/rtls-send", "share/zsh/site-functions/_rtls-send", "share/fish/vendor_completions.d/rtls-send.fish",
	} {
		if _, err := os.Stat(filepath.Join(dir, "usr", file)); err != nil {
			t.Error(err)
		}
	}
	units, err := filepath.Glob(filepath.Join(dir, "usr/lib/systemd/system/*"))
	if err != nil || len(units) < 6 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	for _, unit := range units { // so that verify finds the programs
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "@BINDIR@") {
			t.Errorf("%s: a path is not filled in", unit)
		}
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "=/usr/bin/", "="+dir+"/usr/bin/")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed; make setup does it on Debian")
	}
	if out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// AppArmor takes the profile.
func TestAppArmor(t *testing.T) {
	out, err := exec.Command("/usr/sbin/apparmor_parser", "--skip-kernel-load", "--skip-cache", "-T", "apparmor/usr.bin.rtls-send").CombinedOutput()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("AppArmor is not installed; make setup does it on Debian")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// mandoc finds nothing wrong with the man pages, and each that they refer to as ours is
// there. Lines may be as long as those of the code.
func TestManPages(t *testing.T) {
	pages, err := filepath.Glob("../*/*/*.[1-8]")
	if err != nil || len(pages) < 4 {
		t.Fatalf("pages %q, %v", pages, err)
	}
	for _, page := range pages {
		out, err := exec.Command("mandoc", "-Tlint", page).Output()
		if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
			t.Fatalf("make setup installs mandoc on Debian: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			_, name, reference := strings.Cut(line, "referenced manual not found: Xr ")
			switch {
			case strings.Contains(line, "input text line longer than 80 bytes"):
			case reference && isPage(pages, name):
			case reference && !strings.HasPrefix(name, "rtls"): // of a program that this machine lacks
			default:
				t.Error(line)
			}
		}
	}
}

// isPage says whether one of the pages is what begins a reference: a name and a section.
func isPage(pages []string, reference string) bool {
	name, section, _ := strings.Cut(strings.TrimSpace(reference), " ")
	section, _, _ = strings.Cut(section, " ")
	return slices.ContainsFunc(pages, func(page string) bool { return filepath.Base(page) == name+"."+section })
}
