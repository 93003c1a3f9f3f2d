package sieve

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rtls/internal/testmail"
)

// An oracle is Dovecot's interpreter, sieve-test of Debian's dovecot-sieve.
type oracle struct{ dir string }

func newOracle(t *testing.T) oracle {
	t.Helper()
	if _, err := exec.LookPath("sieve-test"); err != nil {
		t.Fatalf("%v: make setup installs it", err)
	}
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} { // it gives up being root
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	user, group := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	if os.Getuid() == 0 {
		user, group = "nobody", "nogroup"
	}
	o := oracle{dir}
	o.write(t, "dovecot.conf", "mail_uid = "+user+"\nmail_gid = "+group+"\nmail_home = "+dir+"\n"+
		"mail_location = maildir:"+dir+"/Maildir\nlog_path = /dev/stderr\n"+
		"plugin {\n sieve_vacation_min_period = 0\n sieve_extensions = +vacation-seconds\n recipient_delimiter = +\n}\n")
	return o
}

func (o oracle) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// actions runs a script and returns the actions in the form of dovecotForm.
func (o oracle) actions(t *testing.T, script string, msg Message) []string {
	t.Helper()
	text, err := io.ReadAll(io.NewSectionReader(msg.Content, 0, msg.Size))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sieve-test", "-C", "-c", filepath.Join(o.dir, "dovecot.conf"),
		"-f", msg.Sender, "-r", msg.Recipient, "-a", msg.Recipient,
		o.write(t, "test.sieve", script), o.write(t, "test.eml", string(text)))
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 1 {
			return []string{"error"}
		}
		t.Fatalf("%s\n%v: %s", script, err, &trouble)
	}
	return readActions(out.String())
}

// readActions reads what sieve-test prints.
func readActions(out string) []string {
	var all []string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		last := len(all) - 1
		switch text := strings.TrimLeft(line, " "); {
		case strings.HasPrefix(line, " * store message in folder: "):
			all = append(all, "file "+line[len(" * store message in folder: "):])
		case strings.HasPrefix(line, " * redirect message to: <"):
			all = append(all, "redirect "+strings.TrimSuffix(line[len(" * redirect message to: <"):], ">"))
		case strings.HasPrefix(line, " * reject message"):
			all = append(all, "reject")
		case strings.HasPrefix(line, " * send vacation message"):
			all = append(all, "answer")
		case strings.HasPrefix(line, " * "):
			all = append(all, line[3:])
		case strings.HasPrefix(text, "=> seconds : "):
			all[last] += " after " + text[len("=> seconds : "):]
		case strings.HasPrefix(text, "+ add IMAP flags: "):
			flags := strings.Fields(text[len("+ add IMAP flags: "):])
			all[last] += " " + sorted(flags)
		case strings.HasPrefix(text, "+ create mailbox"):
			all[last] += " create"
		}
	}
	return settle(all)
}

// settle leaves out a discard that changes nothing.
func settle(all []string) []string {
	slices.Sort(all)
	if slices.ContainsFunc(all, func(a string) bool { return a != "discard" && !strings.HasPrefix(a, "answer") }) {
		all = slices.DeleteFunc(all, func(a string) bool { return a == "discard" })
	}
	return all
}

func sorted(flags []string) string {
	flags = slices.Clone(flags)
	for i := range flags {
		flags[i] = strings.ToLower(flags[i])
	}
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// dovecotForm is a result as the oracle shows it.
func dovecotForm(r Result) []string {
	var all []string
	for _, a := range r.Actions {
		switch a := a.(type) {
		case Keep:
			all = append(all, strings.TrimRight("file INBOX "+sorted(a.Flags), " "))
		case FileInto:
			s := "file " + a.Mailbox
			if a.Create {
				s += " create"
			}
			all = append(all, strings.TrimRight(s+" "+sorted(a.Flags), " "))
		case Redirect:
			all = append(all, "redirect "+a.Address)
		case Reject:
			all = append(all, "reject")
		case Discard:
			all = append(all, "discard")
		case Vacation:
			all = append(all, fmt.Sprintf("answer after %d", int(a.Period.Seconds())))
		}
	}
	return settle(all)
}

// What Dovecot makes of the tests of the other tables.
func TestOracleTests(t *testing.T) {
	o := newOracle(t)
	for name, c := range map[string]struct {
		rows []struct {
			test string
			want bool
		}
		text string
	}{"header": {evaluated, plainMessage}, "body": {evaluatedBodies, mixedMessage}} {
		var script strings.Builder
		script.WriteString("require [" + strings.NewReplacer(`"vnd.rtls.tag"`, `"index"`, `"ereject", `, "").Replace(requireAll()) + "];\n")
		var asked []string
		want := ""
		for _, row := range c.rows {
			if why := differs(row.test); why != "" {
				t.Logf("%s: %s", row.test, why)
				continue
			}
			asked = append(asked, row.test)
			fmt.Fprintf(&script, "if %s { set \"r\" \"${r}1\"; } else { set \"r\" \"${r}0\"; }\n", row.test)
			want += map[bool]string{true: "1", false: "0"}[row.want]
		}
		script.WriteString("fileinto \"${r}\";\n")
		got := o.actions(t, script.String(), messageOf(c.text))
		if len(got) != 1 || len(got[0]) != len("file ")+len(want) {
			t.Fatalf("%s: got %q", name, got)
		}
		for i, test := range asked {
			if got[0][len("file ")+i] != want[i] {
				t.Errorf("Dovecot has %s the other way", test)
			}
		}
	}
}

// differs says why a test is not one to compare with Dovecot, "" if it is.
func differs(test string) string {
	switch {
	case strings.HasPrefix(test, "tls"):
		return "the extension is ours"
	case strings.HasPrefix(test, "mailboxexists"), strings.HasPrefix(test, "currentdate"), test == `date "date" "hour" "18"`:
		return "depends on where it runs"
	case strings.Contains(test, "return-path"):
		return "Dovecot does not look for an address there"
	case test == `string :value "ne" "a" "A"`:
		return "Dovecot compares octets if no comparator is named; by RFC 5228 section 2.7.3 the default is i;ascii-casemap"
	}
	return ""
}

func TestOracleActions(t *testing.T) {
	o := newOracle(t)
	require := "require [" + strings.NewReplacer(`"ereject", `, "", `, "vnd.rtls.tag"`, "").Replace(requireAll()) + "];\n"
	for _, script := range []string{
		``,
		`keep;`,
		`discard;`,
		`stop; discard;`,
		`discard; keep;`,
		`if false { keep; } elsif true { discard; } else { fileinto "x"; }`,
		`if not anyof (false, size :over 1M) { fileinto "small"; stop; } discard;`,
		`fileinto "x"; fileinto "x"; fileinto "y"; keep;`,
		`fileinto "x"; discard; fileinto :copy "x";`,
		`fileinto :copy "x";`,
		`fileinto :copy "x"; discard;`,
		`fileinto :create "x"; fileinto :copy "y";`,
		`redirect "a@b.example"; redirect "c@d.example";`,
		`redirect :copy "Bart <bart@example.com>";`,
		`redirect "\"b c\"@example.com";`,
		`redirect "a@b.example"; redirect "a@b.example"; keep;`,
		`redirect "a@b.example"; discard;`,
		`redirect "a@x.example"; redirect "b@x.example"; redirect "c@x.example"; redirect "d@x.example"; redirect "e@x.example";`,
		`reject "no";`,
		`reject "no"; discard;`,
		`reject "no"; keep;`,
		`keep; reject "no";`,
		`fileinto "x"; reject "no";`,
		`redirect "a@b.example"; reject "no";`,
		`vacation "x"; reject "no";`,
		`reject "no"; vacation "x";`,
		`reject "no"; reject "no";`,
		`addflag "\\Seen"; addflag ["Big", "big", ""];`,
		`setflag "a b"; removeflag "B"; addflag "c  d ";`,
		`addflag "a"; keep :flags "b"; fileinto "x"; setflag "c"; fileinto "y";`,
		`addflag "a"; keep; setflag "b"; keep;`,
		`addflag "f" "\\Deleted"; addflag "f" "\\Answered"; fileinto :flags "${f}" "x";`,
		`set "f" "\\Flagged $Work"; keep :flags "${f}";`,
		`set "v" "NonJunk gnus-forward $Forwarded"; if hasflag :contains "v" ["label", "FORWARD"] { discard; }`,
		`set "v" "A B a"; if hasflag :count "ge" :comparator "i;ascii-numeric" "v" "3" { discard; }`,
		`vacation "gone";`,
		`vacation :days 3 "gone"; discard;`,
		`vacation :seconds 60 "gone"; fileinto "x";`,
		`vacation "gone"; vacation "gone";`,
		`if header :matches "List-Hint" "[*] *" { fileinto "${1}.${2}"; }`,
		`if address :matches ["To", "Cc"] ["coyote@**.com", "wile@**.com"] { fileinto "b.${1}.${2}"; }`,
		`if anyof (true, address :domain :matches "To" "*.com") { fileinto "a${1}"; }`,
		`if header :matches "subject" "I *" { } if header :matches "subject" "nothing *" { } fileinto "${1}";`,
		`set :quotewildcard :upper "v" "a*b?\\"; fileinto "${v}";`,
		`set :length :lower "v" "Grüße"; fileinto "${v}";`,
		`set "a" "b"; set :upperfirst "a" "${a}${A}"; fileinto "x${hex:2d}${a}${unknown}";`,
		"set \"v\" text: # c\r\n..a\r\n.b\r\n.\r\n;\r\nif string :is \"${v}\" \".a\r\n.b\r\n\" { discard; }",
	} {
		msg := messageOf(plainMessage)
		result, err := mustParse(t, require+script).Run(t.Context(), testEnv, msg)
		got := dovecotForm(result)
		if err != nil {
			got = []string{"error"}
		}
		if want := o.actions(t, require+script, msg); !slices.Equal(got, want) {
			t.Errorf("%s\n     we say %q\nDovecot says %q", script, got, want)
		}
	}
}

// Tests that are run on every message of the corpus.
var corpusTests = []string{
	`exists ["from", "date"]`,
	`exists "message-id"`,
	`header :contains "subject" "e"`,
	`header :matches "subject" "*[a-z]?*"`,
	`header :is "subject" ""`,
	`header :contains ["from", "to"] "example"`,
	`header :count "ge" "received" "1"`,
	`header :contains "subject" ["ü", "ä", "é", "ß"]`,
	`address :domain "from" "example.org"`,
	`address :localpart :matches ["from", "to", "cc", "reply-to"] "*a*"`,
	`address :all :contains ["from", "to", "cc"] "@"`,
	`address :count "eq" ["to", "cc"] "1"`,
	`address :count "eq" ["to", "cc"] "2"`,
	`date :originalzone "date" "year" "2026"`,
	`date :originalzone :matches "date" "zone" "+*"`,
	`body :raw :contains "the"`,
	`body :raw :is ""`,
	`body :content "text" :contains "the"`,
	`body :content "text/plain" :matches "*the*a*"`,
	`body :content "text" :contains ["ü", "ä", "é"]`,
	`body :content "multipart" :contains ""`,
	`body :content "message/rfc822" :contains "subject"`,
	`body :content "" :count "ge" :comparator "i;ascii-numeric" "2"`,
	`size :over 1K`,
	`size :over 2K`,
}

// corpusDiffers are the tests that Dovecot has otherwise.
var corpusDiffers = map[string][]string{
	// It does not read addresses of RFC 6532.
	"14-utf8-addresses": {`address :count "eq" ["to", "cc"] "1"`, `address :count "eq" ["to", "cc"] "2"`},
	// It counts an empty group; by RFC 5231 section 4.2 group names do not count.
	"15-undisclosed-recipients": {`address :count "eq" ["to", "cc"] "1"`},
	// By RFC 5173 section 4 only a message without an empty line has no body.
	"22-empty-body": {`body :raw :is ""`},
	// By RFC 5260 section 4.2 an offset of 0 has a positive sign.
	"42-spam-html-only": {`date :originalzone :matches "date" "zone" "+*"`},
}

func TestOracleCorpus(t *testing.T) {
	o := newOracle(t)
	all, err := testmail.All("../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	script := "require [\"body\", \"comparator-i;ascii-numeric\", \"date\", \"fileinto\", \"relational\", \"variables\"];\n"
	for _, test := range corpusTests {
		script += fmt.Sprintf("if %s { set \"r\" \"${r}1\"; } else { set \"r\" \"${r}0\"; }\n", test)
	}
	script += "fileinto \"${r}\";\n"
	s := mustParse(t, script)
	for _, m := range all {
		text := bytes.ReplaceAll(bytes.ReplaceAll(m.Raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		msg := Message{Content: bytes.NewReader(text), Size: int64(len(text)), Sender: "a@b.example", Recipient: "c@d.example"}
		result, err := s.Run(t.Context(), testEnv, msg)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		got, want := dovecotForm(result), o.actions(t, script, msg)
		if len(want) != 1 || len(want[0]) != len(got[0]) {
			t.Errorf("%s: Dovecot says %q", m.Name, want)
			continue
		}
		for i, test := range corpusTests {
			bit := len("file ") + i
			if same := got[0][bit] == want[0][bit]; same == slices.Contains(corpusDiffers[m.Name], test) {
				t.Errorf("%s: Dovecot has %s as %c, we as %c", m.Name, test, want[0][bit], got[0][bit])
			}
		}
	}
}
