package server

import (
	"fmt"
	"strings"
	"testing"
)

// dialogueCommands are commands with places for words, see dialogueWords.
var dialogueCommands = []string{
	"SELECT %m", "EXAMINE %m", "SELECT %m (CONDSTORE)", "SELECT %m (QRESYNC (1 %n))", "SELECT INBOX (QRESYNC (1 %n %s (%s %s)))", "UNSELECT", "CLOSE",
	"FETCH %s %i", "FETCH %s (%i %i %i)", "UID FETCH %s (%i %i)", "UID FETCH %s (FLAGS %i) (CHANGEDSINCE %n)", "UID FETCH %s FLAGS (CHANGEDSINCE %n VANISHED)", "UID FETCH %s (FLAGS) (PARTIAL -%n:-%n)",
	"STORE %s %o (%f %f)", "UID STORE %s %o.SILENT (%f)", "UID STORE %s (UNCHANGEDSINCE %n) %o (%f)", "EXPUNGE", "UID EXPUNGE %s",
	"COPY %s %m", "UID COPY %s %m", "MOVE %s %m", "UID MOVE %s %m", "REPLACE %n %m {10+}", "UID REPLACE %n %m (%f) {7+}", "APPEND %m (%f %f) {20+}", "APPEND %m {3+}",
	"APPEND %m CATENATE (URL \"/INBOX/;UID=%n\" TEXT {5+}", "APPEND %m CATENATE (URL \"/INBOX/;UID=%n/;SECTION=TEXT\" URL \"/%m/;UID=%n/;SECTION=HEADER\")",
	"SEARCH %k", "SEARCH %k %k", "UID SEARCH OR %k NOT %k", "SEARCH RETURN (%r) %k", "SEARCH RETURN (%r %r) (%k %k)", "UID SEARCH RETURN (%r %r) %k", "ESEARCH IN (%b) RETURN (%r) %k", "ESEARCH IN (%b %b) %k",
	"SORT (%t) UTF-8 %k", "UID SORT RETURN (%r %r) (REVERSE %t %t) US-ASCII %k", "THREAD REFERENCES UTF-8 %k", "UID THREAD ORDEREDSUBJECT UTF-8 %k", "CANCELUPDATE \"t%n\"",
	"CREATE %m", "CREATE %m/%m", "CREATE %m (USE (\\%u))", "DELETE %m", "RENAME %m %m", "RENAME %m %m/%m", "SUBSCRIBE %m", "UNSUBSCRIBE %m",
	"LIST \"\" *", "LIST (%l) \"\" (%% %m/*) RETURN (%e %e)", "LIST (%l RECURSIVEMATCH) \"\" %% RETURN (%e)", "LSUB \"\" *", "STATUS %m (MESSAGES UNSEEN SIZE HIGHESTMODSEQ DELETED MAILBOXID)",
	"GETMETADATA %m (DEPTH infinity) (/private /shared)", "GETMETADATA (MAXSIZE %n) \"\" /shared", "SETMETADATA %m (/private/%m \"x\" /shared/%u NIL)", "GETQUOTAROOT %m",
	"ENABLE %c", "ENABLE %c %c", "NOTIFY NONE", "NOTIFY SET STATUS (%b (%v %v %v))", "NOTIFY SET (selected (MessageNew (%i %i) MessageExpunge FlagChange)) (%b (%v))", "NOTIFY SET (selected-delayed (MessageNew MessageExpunge)) (subtree %m (%v %v))",
	"IDLE", "NOOP", "CHECK", "NAMESPACE", "ID NIL", "UNAUTHENTICATE", "LOGIN a b", "CAPABILITY",
}

var dialogueWords = map[byte][]string{
	'm': {"INBOX", "a", "b", "a/b", "INBOX/c", "none"},
	's': {"1", "2", "1:*", "*", "2:3", "1,3", "4:9", "$", "3:1"},
	'n': {"1", "2", "3", "4", "9", "100"},
	'i': {"FLAGS", "UID", "ENVELOPE", "BODYSTRUCTURE", "BODY[]", "BODY.PEEK[1]", "BODY.PEEK[HEADER.FIELDS (TO SUBJECT)]<0.9>", "BINARY[1]", "BINARY.SIZE[2]", "MODSEQ", "EMAILID", "THREADID", "PREVIEW", "SAVEDATE", "RFC822.SIZE", "INTERNALDATE", "BODY[TEXT]"},
	'o': {"FLAGS", "+FLAGS", "-FLAGS"},
	'f': {"\\Seen", "\\Deleted", "\\Flagged", "x", "y", "$RequireTLS"},
	'k': {"ALL", "1:*", "UID 2:*", "UNSEEN", "DELETED", "KEYWORD x", "SUBJECT message", "TEXT body", "BODY part", "FROM bob", "MODSEQ 2", "NEW", "$", "LARGER 100", "HEADER X-None \"\"", "SINCE 1-Jan-2020", "YOUNGER 100", "SAVEDBEFORE 1-Jan-2030", "NOT ANSWERED"},
	'r': {"ALL", "COUNT", "MIN", "MAX", "SAVE", "UPDATE", "CONTEXT", "PARTIAL 1:2", "PARTIAL -1:-3"},
	'b': {"selected", "personal", "inboxes", "subscribed", "mailboxes (INBOX a)", "subtree a", "mailboxes b"},
	't': {"SUBJECT", "DATE", "ARRIVAL", "SIZE", "FROM", "DISPLAYTO"},
	'u': {"Sent", "Drafts", "Junk", "All"},
	'l': {"SUBSCRIBED", "SPECIAL-USE", "REMOTE"},
	'e': {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS (MESSAGES)", "METADATA (/private/a)"},
	'c': {"CONDSTORE", "QRESYNC", "UIDONLY", "METADATA", "UTF8=ACCEPT", "IMAP4rev2"},
	'v': {"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange"},
}

// pick takes a choice off the input.
func pick(input *[]byte, from []string) string {
	if len(*input) == 0 {
		return from[0]
	}
	n := int((*input)[0]) % len(from)
	*input = (*input)[1:]
	return from[n]
}

// phrase is a command with its words.
func phrase(input *[]byte) string {
	command := pick(input, dialogueCommands)
	var b strings.Builder
	for i := 0; i < len(command); i++ {
		switch {
		case command[i] != '%':
			b.WriteByte(command[i])
		case command[i+1] == '%':
			b.WriteByte('%')
			i++
		default:
			i++
			b.WriteString(pick(input, dialogueWords[command[i]]))
		}
	}
	return b.String()
}

// Two clients of one account that know the grammar, which FuzzSession's rarely do: the
// promises are the same, and neither holds up the other.
func FuzzDialogue(f *testing.F) {
	for i := range dialogueCommands {
		f.Add([]byte{0, 0, 0, 1, 0, 0, 0, byte(i), 1, 1, 1, 1, 1, byte(i), 2, 0, 2, 0})
	}
	pool := fuzzAccounts{root: f.TempDir()}
	f.Fuzz(func(t *testing.T, input []byte) {
		account := pool.take(t)
		var clients [2]*fuzzClient
		for i := range clients {
			clients[i] = startFuzz(t, account)
			clients[i].command("p", "LOGIN a b")
		}
		for i := 0; i < 60 && len(input) > 0; i++ {
			who := int(input[0]>>7) & 1
			if line := phrase(&input); clients[who] != nil && !clients[who].command(fmt.Sprintf("t%d", i), line) {
				clients[who] = nil
			}
		}
		for _, c := range clients {
			if c != nil {
				c.command("end", "NOOP")
			}
		}
	})
}
