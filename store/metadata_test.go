package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func annotations(t *testing.T, a *Account, mailbox string) string {
	t.Helper()
	all, err := a.Metadata(t.Context(), mailbox)
	must(t, err)
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "%s=%q ", e.Name, e.Value)
	}
	return b.String()
}

func annotate(t *testing.T, a *Account, mailbox string, set ...Annotation) uint64 {
	t.Helper()
	seq, err := a.SetMetadata(t.Context(), mailbox, set)
	must(t, err)
	return seq
}

func TestMetadata(t *testing.T) {
	a := newTestAccount(t)
	if got := annotations(t, a, "") + annotations(t, a, "INBOX"); got != "" {
		t.Errorf("a new account has %s", got)
	}
	annotate(t, a, "INBOX", Annotation{"/private/b", []byte("1\r\n\x00")}, Annotation{"/private/A b", []byte{}}, Annotation{"/private/x", nil})
	annotate(t, a, "", Annotation{"/private/c", []byte("2")})
	annotate(t, a, "INBOX", Annotation{"/PRIVATE/a B", []byte("3")})
	if got := annotations(t, a, "INBOX"); got != `/PRIVATE/a B="3" /private/b="1\r\n\x00" ` {
		t.Errorf("got %s", got)
	}
	if got := annotations(t, a, ""); got != `/private/c="2" ` {
		t.Errorf("got %s", got)
	}
	if _, err := a.SetMetadata(t.Context(), "None", nil); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("of no mailbox: %v", err)
	}
	if _, err := a.SetMetadata(t.Context(), "", []Annotation{{"/private/\n", []byte("x")}}); err == nil {
		t.Error("a name with a line feed was taken")
	}
}

// What does not fit leaves all as it was.
func TestMetadataLimits(t *testing.T) {
	a := newTestAccount(t)
	annotate(t, a, "INBOX", Annotation{"/private/a", []byte("1")})
	var many, large []Annotation
	for i := range MaxAnnotations {
		many = append(many, Annotation{fmt.Sprint("/private/", i), []byte("x")})
	}
	for i := range maxAnnotated / MaxAnnotation {
		large = append(large, Annotation{fmt.Sprint("/private/", i), make([]byte, MaxAnnotation)})
	}
	for _, set := range [][]Annotation{many, large, {{"/private/b", make([]byte, MaxAnnotation+1)}}} {
		if _, err := a.SetMetadata(t.Context(), "INBOX", set); !errors.Is(err, ErrAnnotations) {
			t.Errorf("%d annotations: %v", len(set), err)
		}
		if got := annotations(t, a, "INBOX"); got != `/private/a="1" ` {
			t.Errorf("got %s", got)
		}
		annotate(t, a, "", set[:len(set)-1]...)
	}
}

// A file that makes no sense is an error, and never overwritten.
func TestMetadataDamaged(t *testing.T) {
	a := newTestAccount(t)
	path := filepath.Join(a.maildir(), metadataFile)
	for _, text := range []string{"", "rtls-metadata 2\n", metadataHeader + "eA== /private/a\n%\n", metadataHeader + "x /private/a\n", metadataHeader + "eA==\n"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := a.Metadata(t.Context(), "INBOX"); err == nil {
			t.Errorf("%q was read", text)
		}
		if _, err := a.SetMetadata(t.Context(), "INBOX", []Annotation{{"/private/a", []byte("x")}}); err == nil {
			t.Errorf("%q was overwritten", text)
		}
	}
}

func TestMetadataChanges(t *testing.T) {
	a := newTestAccount(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := a.WatchMetadata(ctx)
	first := annotate(t, a, "INBOX", Annotation{"/private/a", []byte("1")}, Annotation{"/private/A", []byte("2")})
	<-c
	cancel()
	changes, last := a.MetadataChanges(0)
	if got := fmt.Sprint(changes); got != fmt.Sprintf("[{%d INBOX [/private/a]}]", first) || last != first {
		t.Errorf("changes %s, last %d", got, last)
	}
	for i := range maxMetadataLog + 10 {
		last = a.annotated.note("", []Annotation{{fmt.Sprint("/private/", i), nil}})
	}
	changes, _ = a.MetadataChanges(0)
	if len(changes) != maxMetadataLog || changes[len(changes)-1].Seq != last {
		t.Errorf("%d changes are remembered", len(changes))
	}
	if changes, _ := a.MetadataChanges(last - 1); len(changes) != 1 {
		t.Errorf("behind the last but one are %d changes", len(changes))
	}
}
