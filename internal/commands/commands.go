// Package commands builds the commands for tests, benchmarks and the demonstration, as
// "make build" does.
package commands

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds all commands into dir, with flags of go build. The environment says
// the rest, such as CGO_ENABLED.
func Build(ctx context.Context, dir string, flags ...string) error {
	for _, command := range []string{"rtls-send", "rtls-imapd"} {
		if err := build(ctx, filepath.Join(dir, command), "rtls/cmd/"+command, flags...); err != nil {
			return err
		}
	}
	return BuildLDA(ctx, dir, flags...)
}

// BuildLDA builds rtls-lda, which is two programs, into dir.
func BuildLDA(ctx context.Context, dir string, flags ...string) error {
	if err := build(ctx, filepath.Join(dir, "rtls-lda-full"), "rtls/cmd/rtls-lda", flags...); err != nil {
		return err
	}
	return build(ctx, filepath.Join(dir, "rtls-lda"), "rtls/cmd/rtls-lda", append([]string{"-tags=plain"}, flags...)...)
}

func build(ctx context.Context, to, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", to}, flags...)
	if out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(to), err, out)
	}
	return nil
}
