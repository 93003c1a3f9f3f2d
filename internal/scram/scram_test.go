package scram

import (
	"strings"
	"testing"
	"unicode"

	xscram "github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// The exchange of RFC 7677 section 3.
func TestExampleOfRFC7677(t *testing.T) {
	c := client(t, "user", "pencil", Binding{})
	c.nonce = "rOprNGfwEbeRWgbNEkqO"
	if got, want := string(c.First()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"; got != want {
		t.Fatalf("first message %q, not %q", got, want)
	}
	got, err := c.Next([]byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	if want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="; err != nil || string(got) != want {
		t.Fatalf("final message %q, %v; not %q", got, err, want)
	}
	if c.Proved() {
		t.Fatal("the server is believed before it has proved anything")
	}
	got, err = c.Next([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
	if err != nil || len(got) != 0 || !c.Proved() {
		t.Fatalf("verdict: %q, %v, proved %v", got, err, c.Proved())
	}
	if _, err := c.Next([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err == nil {
		t.Error("the exchange goes on after its end")
	}
}

func client(t *testing.T, name, password string, b Binding) *Client {
	t.Helper()
	c, err := NewClient(name, password, b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServersThatBreakTheRules(t *testing.T) {
	const good = "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	for _, tt := range []struct{ first, final, want string }{
		{"", "", "malformed"},
		{"r=%sX," + good[:len(good)-7], "", "malformed"},
		{"m=x,r=%sX," + good, "", "malformed"},
		{"r=%s," + good, "", "nonce"},
		{"r=X," + good, "", "nonce"},
		{"r=%sX,s=,i=4096", "", "malformed"},
		{"r=%sX,s=!,i=4096", "", "malformed"},
		{"r=%sX,s=W22Z,i=4095", "", "iterations"},
		{"r=%sX,s=W22Z,i=2097153", "", "iterations"},
		{"r=%sX,s=W22Z,i=-1", "", "iterations"},
		{"r=%sX," + good, "v=AAAA", "does not know"},
		{"r=%sX," + good, "v=", "does not know"},
		{"r=%sX," + good, "", "malformed"},
		{"r=%sX," + good, "e=invalid-proof", "invalid-proof"},
	} {
		c := client(t, "u", "p", Binding{})
		c.First()
		_, err := c.Next([]byte(strings.ReplaceAll(tt.first, "%s", c.nonce)))
		if err == nil {
			_, err = c.Next([]byte(tt.final))
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || c.Proved() {
			t.Errorf("%q, %q: %v, proved %v; want an error with %q", tt.first, tt.final, err, c.Proved(), tt.want)
		}
		if _, err := c.Next(nil); err == nil {
			t.Errorf("%q, %q: the exchange goes on after an error", tt.first, tt.final)
		}
	}
}

// Another's server takes what we say, and we take what it says.
func TestWithOtherServer(t *testing.T) {
	binding := xscram.ChannelBinding{Type: xscram.ChannelBindingTLSExporter, Data: []byte("of this connection")}
	for _, name := range []string{"user", "a=b,c", "\u00aauser", "\u05d0"} {
		for _, b := range []Binding{{}, Bindable, {flag: "p=tls-exporter", data: binding.Data}, {flag: "p=tls-exporter", data: []byte("of another")}} {
			known, err := xscram.SHA256.NewClient(name, "pass\u00a0word", "")
			if err != nil {
				t.Fatal(err)
			}
			server, err := xscram.SHA256.NewServer(func(string) (xscram.StoredCredentials, error) {
				return known.GetStoredCredentialsWithError(xscram.KeyFactors{Salt: "salt of it", Iters: 4096})
			})
			if err != nil {
				t.Fatal(err)
			}
			conversation := server.NewConversation()
			if b.data != nil {
				conversation = server.NewConversationWithChannelBindingRequired(binding)
			}
			c := client(t, name, "pass\u00a0word", b)
			message := c.First()
			for range 2 {
				challenge, _ := conversation.Step(string(message))
				if message, err = c.Next([]byte(challenge)); err != nil {
					break
				}
			}
			if want := string(b.data) != "of another"; c.Proved() != want || conversation.Valid() != want {
				t.Errorf("%q bound by %q: proved %v, server says %v, %v", name, b.flag, c.Proved(), conversation.Valid(), err)
			}
		}
	}
}

// The examples of RFC 4013 section 3.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "\u0007": "", "\u0627\u0031": ""} {
		if got, err := prepare(in); got != want || (err != nil) != (want == "") {
			t.Errorf("prepare(%+q) = %+q, %v; want %+q", in, got, err, want)
		}
	}
}

// Every code point that Unicode 3.2 had is treated as another's SASLprep does.
func TestPrepareAsOthersDo(t *testing.T) {
	query := stringprep.SASLprep
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xD800 <= r && r < 0xE000 || stringprep.TableA1.Contains(r) ||
			r == 0x1806 || // RFC 3454 table B.1 has it, the library has not
			r == 0x200B { // a space and nothing at once; PostgreSQL and libidn make it a space
			continue
		}
		for _, s := range []string{string(r), "a" + string(r) + "1"} {
			want, wantErr := query.Prepare(s)
			got, err := prepare(s)
			if (err != nil) != (wantErr != nil) || err == nil && got != want {
				t.Fatalf("prepare(%+q) = %+q, %v; others say %+q, %v", s, got, err, want, wantErr)
			}
		}
	}
}
