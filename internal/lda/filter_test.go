//go:build !plain

package lda

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/store"
)

// sent is a message that a script has sent.
type sent struct{ from, to, wish, text string }

// filtered is an agent whose users have scripts, and what they send.
func filtered(t *testing.T, scripts map[string]string, fail error) (a *Agent, root string, out *[]sent) {
	t.Helper()
	dir := t.TempDir()
	for user, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, user), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out = new([]sent)
	a, root = realAgent(t, func(c *Config) {
		c.Send = func(_ context.Context, m Onward) error {
			text, err := io.ReadAll(m.Message)
			*out = append(*out, sent{m.From, m.To, m.Wish.String(), string(text)})
			return errors.Join(err, fail)
		}
	})
	a.cfg.Lookup = func(name string) (User, bool, error) {
		return User{Name: name, Dir: filepath.Join(root, name), Script: filepath.Join(dir, name)}, true, nil
	}
	return a, root, out
}

func deliverTo(t *testing.T, a *Agent, env Envelope, message string, users ...string) []error {
	t.Helper()
	var rcpts []Recipient
	for _, u := range users {
		rcpts = append(rcpts, Recipient{Address: u + "@example.org", User: u})
	}
	return a.Deliver(t.Context(), env, rcpts, strings.NewReader(message))
}

// contents are the messages of a mailbox, as they are on disk.
func contents(t *testing.T, root, user, mailbox string) (texts []string, messages []store.Message) {
	t.Helper()
	messages = readMailbox(t, filepath.Join(root, user), mailbox)
	dir := filepath.Join(root, user, "Maildir")
	if mailbox != inbox {
		dir = filepath.Join(dir, "."+mailbox)
	}
	for _, sub := range []string{"cur", "new"} {
		all, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range all {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	return texts, messages
}

// What a script decides is done, whatever the size of the message.
func TestFilterStores(t *testing.T) {
	for _, body := range []string{"body\n", strings.Repeat("0123456789abcde\n", 200_000)} {
		a, root, _ := filtered(t, map[string]string{
			"u1": `require ["fileinto","mailbox","copy","imap4flags"];
				addflag ["\\Seen", "$Junk", "$RequireTLS"];
				fileinto :create :copy "a"; fileinto :create "b"; fileinto "missing";`,
		}, nil)
		message := "Subject: x\n\n" + body
		for _, err := range deliverTo(t, a, Envelope{RequireTLS: true}, message, "u1", "u2") {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, box := range []string{"a", "b", inbox} { // INBOX in place of the one that is missing
			texts, messages := contents(t, root, "u1", box)
			if len(texts) != 1 || !strings.HasSuffix(texts[0], message) || !strings.Contains(texts[0], "Delivered-To: u1@") {
				t.Fatalf("%s has %d messages", box, len(texts))
			}
			m := messages[0]
			if m.Flags&store.Seen == 0 || !slices.Contains(m.Keywords, "$Junk") || len(m.Keywords) != 1 || m.Tag != store.TagRequire {
				t.Errorf("%s: flags %v %v, tag %s", box, m.Flags, m.Keywords, m.Tag)
			}
		}
		if texts, messages := contents(t, root, "u2", inbox); len(texts) != 1 || !strings.HasSuffix(texts[0], message) || messages[0].Flags != 0 {
			t.Errorf("u2, who has no script: %d", len(texts))
		}
	}
}

func TestFilterSends(t *testing.T) {
	const redirect = `redirect "a@example.net"; redirect "b@example.net";`
	const answer = `require "vacation"; vacation :addresses "u1@example.org" "away";`
	big := strings.Repeat("0123456789abcde\n", 200_000)
	for _, tc := range []struct {
		name, script, head string
		env                Envelope
		fail               error
		sent               []string // to and wish
		kept               int
	}{
		{"redirect", redirect, "", Envelope{Sender: "s@x"}, nil, []string{"s@x a@example.net auto", "s@x b@example.net auto"}, 0},
		{"redirect with the tag", redirect, "", Envelope{Sender: "s@x", RequireTLS: true}, nil, []string{"s@x a@example.net yes", "s@x b@example.net yes"}, 0},
		{"redirect without TLS", redirect, "TLS-Required: No\n", Envelope{}, nil, []string{" a@example.net no", " b@example.net no"}, 0},
		{"redirect that fails", redirect, "", Envelope{RequireTLS: true}, errors.New("no REQUIRETLS"), []string{" a@example.net yes", " b@example.net yes"}, 1},
		{"redirect and keep", redirect + "keep;", "", Envelope{}, errors.New("x"), []string{" a@example.net auto", " b@example.net auto"}, 1},
		{"redirect round and round", redirect, strings.Repeat("Received: by x\n", 51), Envelope{}, nil, nil, 1},
		{"answer", answer, "From: s@x\nTo: u1@example.org\n", Envelope{Sender: "s@x"}, nil, []string{" s@x auto"}, 1},
		{"answer with the tag", answer, "From: s@x\nTo: u1@example.org\n", Envelope{Sender: "s@x", RequireTLS: true}, nil, []string{" s@x yes"}, 1},
		{"answer that fails", answer, "From: s@x\nTo: u1@example.org\n", Envelope{Sender: "s@x"}, errors.New("x"), []string{" s@x auto"}, 1},
		{"no answer to nobody", answer, "To: u1@example.org\n", Envelope{}, nil, nil, 1},
	} {
		for _, body := range []string{"body\n", big} {
			t.Run(tc.name, func(t *testing.T) {
				a, root, out := filtered(t, map[string]string{"u1": tc.script}, tc.fail)
				message := tc.head + "Subject: secret\n\n" + body
				if err := deliverTo(t, a, tc.env, message, "u1")[0]; err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, s := range *out {
					got = append(got, s.from+" "+s.to+" "+s.wish)
					isAnswer := strings.HasPrefix(tc.name, "answer")
					if !isAnswer && (!strings.HasSuffix(s.text, message) || !strings.HasPrefix(s.text, "Delivered-To: u1@example.org\nReceived: by ")) {
						t.Errorf("sent %.300q", s.text)
					}
					if isAnswer && (!strings.Contains(s.text, "away") || strings.Contains(s.text, "secret") == (s.wish == "yes")) {
						t.Errorf("answered %q", s.text)
					}
				}
				if !slices.Equal(got, tc.sent) {
					t.Errorf("sent %q, want %q", got, tc.sent)
				}
				if all := files(t, root, "u1"); len(all) != tc.kept {
					t.Errorf("%d kept, want %d", len(all), tc.kept)
				} else if len(all) > 0 {
					if text, err := os.ReadFile(all[0]); err != nil || !strings.HasSuffix(string(text), message) {
						t.Errorf("%v, %d octets", err, len(text))
					}
				}
				if tc.name == "answer" && tc.fail == nil { // once is enough
					if err := deliverTo(t, a, tc.env, message, "u1")[0]; err != nil || len(*out) != 1 {
						t.Errorf("%v, %d answers", err, len(*out))
					}
				}
			})
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	for script, want := range map[string]string{
		`require "reject"; reject "go away";`:           "550 5.7.1 go away",
		`require "ereject"; ereject "go away";`:         "550 5.7.1 go away",
		`require "reject"; reject "ich will nicht, Ä";`: "550 5.7.1 the recipient refuses this message",
		"require \"reject\"; reject \"two\r\nlines\";":  "550 5.7.1 two lines",
		"discard;": "",
		"stop;":    "",
	} {
		a, root, out := filtered(t, map[string]string{"u1": script}, nil)
		results := deliverTo(t, a, Envelope{}, "x\n", "u1", "u2")
		got := ""
		if results[0] != nil {
			got = results[0].Error()
		}
		if got != want || results[1] != nil || len(files(t, root, "u2")) != 1 || len(*out) != 0 {
			t.Errorf("%s: %v", script, results)
		}
		if n := len(files(t, root, "u1")); (n == 1) != (script == "stop;") {
			t.Errorf("%s: %d kept", script, n)
		}
	}
}

// One recipient's script is not the others' affair, and a doubt is a doubt.
func TestFilterFails(t *testing.T) {
	a, root, _ := filtered(t, map[string]string{"u1": "this is no script"}, nil)
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	lookup := a.cfg.Lookup
	a.cfg.Lookup = func(name string) (User, bool, error) {
		u, ok, err := lookup(name)
		if name == "u2" {
			u.Script = filepath.Join(root, "dir")
		}
		return u, ok, err
	}
	results := deliverTo(t, a, Envelope{}, "x\n", "u1", "u2", "u3")
	if results[0] != nil || results[2] != nil || len(files(t, root, "u1")) != 1 || len(files(t, root, "u3")) != 1 {
		t.Error(results)
	}
	if e, ok := errors.AsType[*Error](results[1]); !ok || !e.Temporary() || len(files(t, root, "u2")) != 0 {
		t.Error(results)
	}
	// A message that is broken off is nobody's, with a script or without.
	broken := io.MultiReader(strings.NewReader("Subject: x\n\nbody"), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
	for _, err := range a.Deliver(t.Context(), Envelope{}, []Recipient{{Address: "u1", User: "u1"}, {Address: "u3", User: "u3"}}, broken) {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	}
	if len(files(t, root, "u1")) != 1 || len(files(t, root, "u3")) != 1 {
		t.Error("a part was stored")
	}
}
