package server

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"rtls/store"
)

func newSiteWithQuota(t *testing.T, q store.Quota) *site {
	t.Helper()
	var s *site
	s = newSite(t, func(server *Server) {
		server.OpenAccount = func(_ context.Context, user string) (*store.Account, error) {
			return store.Open(filepath.Join(filepath.Dir(s.dir), user), &store.Options{Quota: q})
		}
	})
	return s
}

// RFC 9208, sections 4.1 and 4.2.
func TestQuota(t *testing.T) {
	s := newSiteWithQuota(t, store.Quota{Bytes: 512 << 10, Messages: 3})
	s.deliver("INBOX", "Subject: x\r\n\r\n"+strings.Repeat("0123456789abcde\n", 640), store.Meta{}) // 10.6 KiB
	s.sync("INBOX")
	c := s.login("INBOX")
	c.script(`
		C: G0001 GETQUOTA ""
		S: * QUOTA "" (STORAGE 11 512 MESSAGE 1 3)
		S: G0001 OK GETQUOTA completed
		C: G0002 GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX ""
		S: * QUOTA "" (STORAGE 11 512 MESSAGE 1 3)
		S: G0002 OK GETQUOTAROOT completed
		C: G0003 GETQUOTAROOT "not there"
		S: * QUOTAROOT "not there" ""
		S: * QUOTA "" (STORAGE 11 512 MESSAGE 1 3)
		S: G0003 OK GETQUOTAROOT completed
		C: G0004 GETQUOTA !partition/sda4
		S: G0004 NO [NONEXISTENT] no such quota root
		C: S0000 SETQUOTA "" (STORAGE 1024)
		S: S0000 NO [NOPERM] the quota is set by the administrator
		C: a STORE 1 +FLAGS.SILENT (\Deleted)
		S: a OK STORE completed
		C: S0003 STATUS INBOX (MESSAGES DELETED DELETED-STORAGE)
		S: * STATUS INBOX (MESSAGES 1 DELETED 1 DELETED-STORAGE 10894)
		S: S0003 OK STATUS completed
		C: A003 COPY 1 INBOX
		S: * 2 EXISTS
		S: * 2 RECENT
		S: A003 OK [COPYUID <*> 1 2] COPY completed
		C: A004 COPY 1:2 INBOX
		S: A004 NO [OVERQUOTA] the account has no room for it
		C: A005 EXPUNGE
		S: * 2 EXPUNGE
		S: * 1 EXPUNGE
		S: A005 OK EXPUNGE completed
		C: A006 GETQUOTA ""
		S: * QUOTA "" (STORAGE 0 512 MESSAGE 0 3)
		S: A006 OK GETQUOTA completed
	`)
}

// A resource without a limit is not listed, and an account without one has no root.
func TestQuotaWithoutLimit(t *testing.T) {
	s := newSiteWithQuota(t, store.Quota{Messages: 10})
	s.login("").script(`
		C: a GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX ""
		S: * QUOTA "" (MESSAGE 0 10)
		S: a OK GETQUOTAROOT completed
	`)
	newSite(t).login("").script(`
		C: a GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX
		S: a OK GETQUOTAROOT completed
		C: b GETQUOTA ""
		S: b NO [NONEXISTENT] no such quota root
	`)
}
