package sieve

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestExplain(t *testing.T) {
	script := `require ["fileinto", "variables", "envelope"];
if anyof (header :contains "subject" "absent",
          envelope "from" "coyote@desert.example.org") {
	set "who" "coyote";
	fileinto "from.${who}";
}
elsif true { discard; }
if not exists "x-nothing" { stop; }
`
	var lines []string
	env := testEnv
	env.Explain = func(line string) { lines = append(lines, line) }
	if _, err := mustParse(t, script).Run(t.Context(), env, messageOf(plainMessage)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`2: header :contains "subject" "absent": false, saw "I have a present for you"`,
		`3: envelope "from" "coyote@desert.example.org": true, saw "coyote@desert.example.org"`,
		`4: set "who" "coyote": who is "coyote"`,
		`5: fileinto "from.${who}": store in "from.coyote", flags []`,
		`8: exists "x-nothing": false`,
		`8: stop: the script ends`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestRunIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := mustParse(t, `discard;`).Run(ctx, testEnv, messageOf(plainMessage))
	var fault *Error
	if show(result) != "keep" || !errors.Is(err, context.Canceled) || errors.As(err, &fault) {
		t.Errorf("got %s, %v", show(result), err)
	}
}

// A zero Env works.
func TestRunWithoutEnv(t *testing.T) {
	got := outcomeOf(t, Env{}, messageOf(plainMessage), `require ["vnd.rtls.tag", "mailbox", "date", "subaddress", "envelope"];
		if allof (tlstag "unknown", tlsorigin "unknown", mailboxexists "inbox", not mailboxexists "x",
			currentdate :matches "year" "2*", not envelope :detail "to" "birds") { discard; }`)
	if got != "discard" {
		t.Errorf("got %s", got)
	}
}

// One script runs many times at once.
func TestRunAtOnce(t *testing.T) {
	s := mustParse(t, `require ["variables", "fileinto"]; if header :matches "subject" "*" { set "s" "${1}"; } fileinto "${s}";`)
	var wg sync.WaitGroup
	for _, subject := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for range 100 {
				result, err := s.Run(t.Context(), testEnv, messageOf("Subject: "+subject+"\n\n"))
				if got := show(result); err != nil || got != "file "+subject {
					t.Errorf("got %s, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// A bug keeps the message.
func TestPanicKeeps(t *testing.T) {
	env := testEnv
	env.Explain = func(string) { panic("a bug") }
	result, err := mustParse(t, `discard;`).Run(t.Context(), env, messageOf(plainMessage))
	if show(result) != "keep" || err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %s, %v", show(result), err)
	}
}

// Whatever script and message, the message goes where the script says or is kept.
func FuzzRun(f *testing.F) {
	for _, script := range fuzzSeeds(f) {
		f.Add(script, plainMessage, "a@b.example")
		f.Add(script, mixedMessage, "")
	}
	f.Fuzz(func(t *testing.T, script, text, sender string) {
		s, err := Parse(strings.NewReader(script))
		if err != nil {
			return
		}
		asked := make(map[string]bool) // commands that were run
		env := testEnv
		env.Limits.Work = 20 << 20
		env.Explain = func(line string) {
			_, line, _ = strings.Cut(line, ": ")
			name, _, _ := strings.Cut(line, " ")
			asked[strings.TrimSuffix(name, ":")] = true
		}
		msg := Message{Content: strings.NewReader(text), Size: int64(len(text)), Sender: sender, Recipient: "roadrunner@acme.example.com"}
		result, err := s.Run(t.Context(), env, msg)
		if err != nil {
			var fault *Error
			if !errors.As(err, &fault) || show(result) != "keep" {
				t.Fatalf("%q: %s, %v", script, show(result), err)
			}
			return
		}
		checkResult(t, result, asked)
	})
}

// checkResult says whether a result takes care of the message in the way that the
// commands asked for.
func checkResult(t *testing.T, result Result, asked map[string]bool) {
	kinds := make(map[string]int)
	for _, a := range result.Actions {
		switch a := a.(type) {
		case Keep:
			kinds["store"]++
		case FileInto:
			kinds["store"]++
			if wrong := checkMailbox(a.Mailbox); wrong != "" {
				t.Fatalf("the mailbox %s", wrong)
			}
		case Redirect:
			kinds["redirect"]++
			if _, ok := outbound(a.Address); !ok {
				t.Fatalf("redirect to %q", a.Address)
			}
		case Reject:
			kinds["reject"]++
		case Discard:
			kinds["discard"]++
		case Vacation:
			kinds["vacation"]++
			checkAnswer(t, a)
		}
	}
	care := kinds["store"] + kinds["redirect"] + kinds["reject"] + kinds["discard"]
	switch {
	case care == 0:
		t.Fatalf("nobody takes care of the message: %s", show(result))
	case (kinds["reject"] > 0 || kinds["discard"] > 0) && care != 1:
		t.Fatalf("impossible actions: %s", show(result))
	case kinds["discard"] > 0 && !asked["discard"],
		kinds["reject"] > 0 && !asked["reject"] && !asked["ereject"],
		kinds["redirect"] > 0 && !asked["redirect"],
		kinds["vacation"] > 0 && !asked["vacation"]:
		t.Fatalf("nobody asked for it: %s, but for %v", show(result), asked)
	case (asked["keep"] || asked["fileinto"]) && kinds["store"] == 0,
		asked["redirect"] && kinds["redirect"] == 0:
		t.Fatalf("asked for %v and got %s", asked, show(result))
	}
}

func checkAnswer(t *testing.T, v Vacation) {
	if v.To == "" || v.Key == "" || len(v.From) == 0 {
		t.Fatalf("answer %+v", v)
	}
	header, _, ok := strings.Cut(string(v.Message(testEnv.Now, "<a@b>")), "\r\n\r\n")
	if !ok {
		t.Fatalf("the answer has no end of its header")
	}
	names := make(map[string]int)
	for line := range strings.SplitSeq(header, "\r\n") {
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("header line %q", line)
		}
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			names[strings.ToLower(name)]++
		}
	}
	for _, name := range []string{"from", "to", "subject", "date", "message-id", "auto-submitted"} {
		if names[name] != 1 || names["bcc"] > 0 {
			t.Fatalf("fields %v", names)
		}
	}
}
