package server

import (
	"testing"

	"rtls/store"
)

// RFC 5256 section 3.
func TestThread(t *testing.T) {
	s := newSite(t)
	for _, m := range []string{
		"Message-ID: <1@x>\nSubject: start\nDate: Sat, 14 Mar 2026 10:00:00 +0000\n\n",
		"Message-ID: <2@x>\nSubject: gone\nDate: Sat, 14 Mar 2026 10:30:00 +0000\n\n",
		"Message-ID: <3@x>\nReferences: <1@x>\nSubject: Re: start\nDate: Sat, 14 Mar 2026 12:00:00 +0000\n\n",
		"Message-ID: <4@x>\nIn-Reply-To: <1@x>\nSubject: Re: start\nDate: Sat, 14 Mar 2026 11:00:00 +0000\n\n",
		"Message-ID: <5@x>\nReferences: <1@x>\n\t<3@x>\nSubject: other\nDate: Sat, 14 Mar 2026 13:00:00 +0000\n\nneedle\n",
		"Message-ID: <6@x>\nReferences: <missing@x>\nSubject: a\nDate: Fri, 13 Mar 2026 10:00:00 +0000\n\n",
		"Message-ID: <7@x>\nReferences: <missing@x>\nSubject: b\nDate: Sat, 14 Mar 2026 14:00:00 +0000\n\n",
	} {
		s.deliver("INBOX", m, store.Meta{})
		s.sync("INBOX")
	}
	c := s.login("INBOX")
	c.do(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	c.do("EXPUNGE") // UIDs 1 and 3 to 7 stay
	c.script(`
		C: A283 UID THREAD REFERENCES UTF-8 ALL
		S: * THREAD ((6)(7))(1 (4)(3 5))
		S: A283 OK UID THREAD completed
		C: A284 THREAD references US-ASCII ALL
		S: * THREAD ((5)(6))(1 (3)(2 4))
		S: A284 OK THREAD completed
		C: A285 THREAD ORDEREDSUBJECT UTF-8 ALL
		S: * THREAD (5)(1 (3)(2))(4)(6)
		S: A285 OK THREAD completed
		C: A286 UID THREAD REFERENCES UTF-8 TEXT needle
		S: * THREAD (5)
		S: A286 OK UID THREAD completed
		C: A287 UID THREAD REFERENCES UTF-8 NOT UID 3
		S: * THREAD ((6)(7))(1 (4)(5))
		S: A287 OK UID THREAD completed
		C: A288 THREAD REFERENCES UTF-8 SEEN
		S: * THREAD
		S: A288 OK THREAD completed
		C: A289 THREAD REFERENCES KOI8-R ALL
		S: A289 NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported
		C: A290 THREAD JWZ UTF-8 ALL
		S: A290 BAD unknown algorithm JWZ
	`)
	other := s.login("INBOX")
	other.do(`STORE 6 +FLAGS.SILENT (\Deleted)`)
	other.do("EXPUNGE")
	c.script(`
		C: a THREAD ORDEREDSUBJECT UTF-8 1:4
		S: * THREAD (1 (3)(2))(4)
		S: a OK THREAD completed
		C: b UID THREAD ORDEREDSUBJECT UTF-8 ALL
		S: * THREAD (6)(1 (4)(3))(5)
		S: * 6 EXPUNGE
		S: b OK UID THREAD completed
	`)
}
