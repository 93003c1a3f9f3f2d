// Package testdns is a resolver for tests: it listens on loopback and knows what it
// is told.
package testdns

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is a running resolver.
type Server struct {
	Addr string // host:port

	mu      sync.Mutex // guards what follows
	records map[string][]dns.RR
	secure  map[string]bool // names whose answers have AD set
	broken  map[string]bool // names answered with SERVFAIL
	asked   []string        // "name type", as they came
}

// listen finds a port that is free for both.
func listen() (packets net.PacketConn, stream net.Listener, err error) {
	for range 100 {
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, stream, nil
		}
		packets.Close()
	}
	return nil, nil, err
}

// New starts a resolver that ends with the test. It listens over UDP and TCP.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{records: map[string][]dns.RR{}, secure: map[string]bool{}, broken: map[string]bool{}}
	packets, stream, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() { // ended by the cleanup
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-done
		})
	}
	return s
}

// Add adds a record in the text form of a zone file.
func (s *Server) Add(t testing.TB, record string) {
	t.Helper()
	rr, err := dns.NewRR(record)
	if err != nil || rr == nil {
		t.Fatalf("record %q: %v", record, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(rr.Header().Name, rr.Header().Rrtype)
	s.records[key] = append(s.records[key], rr)
}

// Secure makes all answers about the names, and below them, proven by DNSSEC.
func (s *Server) Secure(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.secure[dns.CanonicalName(name)] = true
	}
}

// Break makes the resolver fail for a name.
func (s *Server) Break(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[dns.CanonicalName(name)] = true
}

// Asked is the questions so far, as "name TYPE".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func keyOf(name string, kind uint16) string {
	return dns.CanonicalName(name) + " " + dns.TypeToString[kind]
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(question)
	q := question.Question[0]
	key := keyOf(q.Name, q.Qtype)
	s.mu.Lock()
	s.asked = append(s.asked, key)
	reply.Answer = s.records[key]
	for name := dns.CanonicalName(q.Name); name != ""; {
		reply.AuthenticatedData = reply.AuthenticatedData || s.secure[name]
		_, name, _ = strings.Cut(name, ".")
	}
	if s.broken[dns.CanonicalName(q.Name)] {
		reply.Answer, reply.AuthenticatedData, reply.Rcode = nil, false, dns.RcodeServerFailure
	}
	s.mu.Unlock()
	if _, datagram := w.RemoteAddr().(*net.UDPAddr); datagram && reply.Len() > dns.MinMsgSize && question.IsEdns0() == nil {
		reply.Truncate(dns.MinMsgSize)
	} else if datagram {
		reply.Truncate(1232)
	}
	_ = w.WriteMsg(reply)
}
