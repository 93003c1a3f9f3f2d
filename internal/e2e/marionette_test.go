package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// marionette drives a program of Mozilla's by its remote protocol. Packets are
// LENGTH:JSON; a command is [0, id, name, parameters], its answer [1, id, error, value].
type marionette struct {
	conn net.Conn
	r    *bufio.Reader
	id   int
}

// dialMarionette connects to a program and asks for its windows' own scripts, not
// those of pages in them.
func dialMarionette(t *testing.T, port string) *marionette {
	t.Helper()
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, imapTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &marionette{conn: conn, r: bufio.NewReader(conn)}
	var hello struct{ MarionetteProtocol int }
	if err := m.read(&hello); err != nil || hello.MarionetteProtocol != 3 {
		t.Fatalf("Marionette says hello with %+v, %v; want protocol 3", hello, err)
	}
	m.do(t, nil, "WebDriver:NewSession", map[string]any{})
	m.do(t, nil, "WebDriver:SetTimeouts", map[string]any{"script": imapTimeout.Milliseconds()})
	m.do(t, nil, "Marionette:SetContext", map[string]any{"value": "chrome"})
	return m
}

func (m *marionette) read(into any) error {
	_ = m.conn.SetReadDeadline(time.Now().Add(2 * imapTimeout))
	length, err := m.r.ReadString(':')
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(length, ":"), 10, 32)
	if err != nil {
		return err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(m.r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// do gives a command and stores the value that it gets in into, unless that is nil.
func (m *marionette) do(t *testing.T, into any, name string, params any) {
	t.Helper()
	m.id++
	text, err := json.Marshal([]any{0, m.id, name, params})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(imapTimeout))
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(text), text); err != nil {
		t.Fatal(err)
	}
	var answer [4]json.RawMessage
	if err := m.read(&answer); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if string(answer[0]) != "1" || string(answer[1]) != strconv.Itoa(m.id) || string(answer[2]) != "null" {
		t.Fatalf("%s: %s", name, answer)
	}
	if into == nil {
		return
	}
	var result struct{ Value json.RawMessage }
	if err := json.Unmarshal(answer[3], &result); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(result.Value, into); err != nil {
		t.Fatalf("%s: %v: %s", name, err, result.Value)
	}
}

// run runs the body of a function and stores what it returns, or what the promise
// that it returns comes to.
func (m *marionette) run(t *testing.T, into any, body string, args ...any) {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	m.do(t, into, "WebDriver:ExecuteScript", map[string]any{"script": body, "args": args, "sandbox": "system", "newSandbox": true})
}
