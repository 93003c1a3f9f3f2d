package scram

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// What the library's client cannot be made to say; the rest is in package auth.
func TestServerFirstMessage(t *testing.T) {
	exporter := Binding{flag: "p=tls-exporter", data: []byte("x")}
	for message, want := range map[string]string{
		"n,,n=user,r=abc":            "user/",
		"n,,n=a=2Cb=3D2C,r=abc,x=1":  "a,b=2C/",
		"n,a=bo=3Db,n=user,r=abc":    "user/bo=b",
		"y,,n=user,r=abc":            ErrDowngrade.Error(),
		"n,,n=user=,r=abc":           errMalformed.Error(),
		"n,,n=us=2cer,r=abc":         errMalformed.Error(),
		"n,b,n=user,r=abc":           errMalformed.Error(),
		"n,,m=x,n=user,r=abc":        errMalformed.Error(),
		"n,,n=user,r=":               errMalformed.Error(),
		"n,,n=user":                  errMalformed.Error(),
		"n,,n=\xff,r=abc":            errMalformed.Error(),
		"x,,n=user,r=abc":            errMalformed.Error(),
		"":                           errMalformed.Error(),
		"p=tls-exporter,,n=u,r=abc":  "channel binding and mechanism do not go together",
		"p=tls-unique,,n=user,r=abc": "channel binding and mechanism do not go together",
	} {
		s, err := NewServer(message, exporter, false)
		switch {
		case err != nil && err.Error() != want:
			t.Errorf("%q: %v, want %s", message, err, want)
		case err == nil && s.User+"/"+s.AuthzID != want:
			t.Errorf("%q: %s/%s, want %s", message, s.User, s.AuthzID, want)
		}
	}
}

func TestServerFinalMessage(t *testing.T) {
	v, err := Derive("pencil", Salting{"0123456789abcdef", minIterations})
	if err != nil {
		t.Fatal(err)
	}
	start := func() (*Client, *Server, string) {
		c, err := NewClient("user", "pencil", Binding{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewServer(string(c.First()), Binding{}, false)
		if err != nil {
			t.Fatal(err)
		}
		final, err := c.Next([]byte(s.Challenge(v.Salting)))
		if err != nil {
			t.Fatal(err)
		}
		return c, s, string(final)
	}
	other := v
	other.StoredKey = make([]byte, 32)
	c, s, final := start()
	at, reply, err := s.Verify(final, Binding{}, []Verifier{other, v})
	if at != 1 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
	if _, err := c.Next([]byte(reply)); err != nil || !c.Proved() {
		t.Errorf("the server has not proved itself: %v", err)
	}
	for _, tc := range []struct {
		change func(string) string
		want   error
	}{
		{func(m string) string {
			return strings.Replace(m, "c=biws", "c="+base64.StdEncoding.EncodeToString([]byte("n,,x")), 1)
		}, ErrBinding},
		{func(m string) string { return strings.Replace(m, ",r=", ",r=x", 1) }, errMalformed},
		{func(m string) string { return strings.Replace(m, ",p=", ",x=1,p=", 1) }, ErrProof}, // an extension, which is signed
		{func(m string) string { return m[:len(m)-4] }, errMalformed},
		{func(m string) string { m, _, _ = strings.Cut(m, ",p="); return m }, errMalformed},
		{func(string) string { return "" }, errMalformed},
	} {
		_, s, final := start()
		if _, _, err := s.Verify(tc.change(final), Binding{}, []Verifier{v}); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v, want %v", tc.change(final), err, tc.want)
		}
	}
}

// Whatever a client says: no password is taken for known that is not, and who is taken
// in has said so in a way that can be said again.
func FuzzServer(f *testing.F) {
	v, err := Derive("pencil", Salting{"0123456789abcdef", 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("n,,n=user,r=abc", "c=biws,r=,p=", false)
	f.Add("p=tls-exporter,a=x,n=u=2Cser,r=abc", "c=,r=,p=AAAA", true)
	f.Fuzz(func(t *testing.T, first, final string, bound bool) {
		b := Binding{flag: "p=tls-exporter", data: []byte("x")}
		s, err := NewServer(first, b, bound)
		if err != nil {
			return
		}
		if strings.HasPrefix(first, "p=") != bound || strings.HasPrefix(first, "y") {
			t.Errorf("%q is taken", first)
		}
		s.Challenge(v.Salting)
		final = strings.Replace(final, "r=", "r="+s.nonce, 1)
		if _, _, err := s.Verify(final, b, []Verifier{v}); err == nil {
			t.Errorf("%q, %q: let in", first, final)
		}
	})
}
