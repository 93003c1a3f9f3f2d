package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"rtls/store"
)

const inbox = "INBOX"

// delivery is one message on its way into one mailbox.
type delivery interface {
	io.Writer
	Commit(meta store.Meta) (store.Key, error)
	Close() error // aborts what was not committed
}

// opener starts a delivery. create says that a mailbox that is missing is to be
// made; like, unless nil, is a delivery whose content the new one shares.
type opener func(ctx context.Context, u User, mailbox string, create bool, like delivery) (delivery, error)

// storeDelivery closes its account along with itself.
type storeDelivery struct {
	*store.Delivery
	ctx     context.Context // of the delivery: Append is a part of Commit
	account *store.Account
	mailbox string
}

// Commit goes by way of Append where there are keywords, which only the index knows.
func (d storeDelivery) Commit(meta store.Meta) (store.Key, error) {
	if len(meta.Keywords) == 0 {
		return d.Delivery.Commit(meta)
	}
	box, err := d.account.Mailbox(d.ctx, d.mailbox)
	if err != nil {
		return "", err
	}
	_, err = box.Append(d.ctx, d.Delivery, meta)
	return "", errors.Join(err, box.Close())
}

func (d storeDelivery) Close() error {
	return errors.Join(d.Abort(), d.account.Close())
}

// account opens a user's account, and makes it where there is none.
func (a *Agent) account(u User) (*store.Account, error) {
	var opt store.Options
	if a.cfg.Store != nil {
		opt = *a.cfg.Store
	}
	opt.Quota = u.Quota
	account, err := store.Open(u.Dir, &opt)
	if errors.Is(err, store.ErrNoAccount) {
		if err := store.Create(u.Dir, &opt); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create account: %w", err)
		}
		a.explain("account: %s is made", u.Dir)
		account, err = store.Open(u.Dir, &opt)
	}
	if err != nil {
		return nil, fmt.Errorf("open account: %w", err)
	}
	return account, nil
}

func (a *Agent) openStore(ctx context.Context, u User, mailbox string, create bool, like delivery) (delivery, error) {
	account, err := a.account(u)
	if err != nil {
		return nil, err
	}
	start := func() (*store.Delivery, error) {
		if like, ok := like.(storeDelivery); ok {
			return like.Share(ctx, account, mailbox)
		}
		return account.Deliver(ctx, mailbox)
	}
	d, err := start()
	if create && errors.Is(err, store.ErrNoMailbox) {
		if err = makeFolder(ctx, account, mailbox); err == nil {
			a.explain("mailbox: %q is made", mailbox)
			d, err = start()
		}
	}
	if err != nil {
		return nil, errors.Join(err, account.Close())
	}
	return storeDelivery{d, ctx, account, mailbox}, nil
}

// makeFolder makes a mailbox and subscribes to it, or nobody would see it.
func makeFolder(ctx context.Context, account *store.Account, mailbox string) error {
	if err := account.CreateMailbox(ctx, mailbox, ""); err != nil && !errors.Is(err, store.ErrMailboxExists) {
		return fmt.Errorf("create mailbox: %w", err)
	}
	if err := account.Subscribe(ctx, mailbox, true); err != nil {
		return fmt.Errorf("subscribe to mailbox: %w", err)
	}
	return nil
}

// admit says whether a target has room.
func (a *Agent) admit(ctx context.Context, t Target, size int64) error {
	u, err := a.lookup(t.User)
	if err != nil {
		return Classify(err)
	}
	if u.Quota == (store.Quota{}) {
		return nil
	}
	account, err := store.Open(u.Dir, a.cfg.Store)
	if errors.Is(err, store.ErrNoAccount) {
		return a.classify(room(u.Quota, 0, 0, size))
	}
	if err != nil {
		return Classify(fmt.Errorf("open account: %w", err))
	}
	defer account.Close()
	bytes, messages, err := account.Usage(ctx)
	if err != nil {
		return Classify(err)
	}
	a.explain("quota: %s holds %d octets of %s and %d messages of %s", u.Name, bytes, limit(u.Quota.Bytes), messages, limit(u.Quota.Messages))
	return a.classify(room(u.Quota, bytes, messages, size))
}

func limit(n int64) string {
	if n == 0 {
		return "any number"
	}
	return fmt.Sprint(n)
}

// room is the store's rule.
func room(q store.Quota, bytes, messages, size int64) error {
	if q.Bytes > 0 && size > q.Bytes-bytes || q.Messages > 0 && messages >= q.Messages {
		return store.ErrQuota
	}
	return nil
}

// dryDelivery counts a message that is not to be stored.
type dryDelivery struct {
	a    *Agent
	ctx  context.Context
	user User
	size int64
}

func (d *dryDelivery) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	return len(p), nil
}

func (d *dryDelivery) Commit(store.Meta) (store.Key, error) {
	return "", d.a.admit(d.ctx, Target{User: d.user.Name}, d.size)
}

func (d *dryDelivery) Close() error { return nil }

// openDry looks at what openStore would need.
func (a *Agent) openDry(ctx context.Context, u User, mailbox string, create bool, _ delivery) (delivery, error) {
	d := &dryDelivery{a: a, ctx: ctx, user: u}
	account, err := store.Open(u.Dir, a.cfg.Store)
	switch {
	case errors.Is(err, store.ErrNoAccount) && (mailbox == inbox || create):
		a.explain("account: %s would be made", u.Dir)
		return d, nil
	case errors.Is(err, store.ErrNoAccount):
		return nil, store.ErrNoMailbox
	case err != nil:
		return nil, fmt.Errorf("open account: %w", err)
	}
	defer account.Close()
	exists, err := mailboxExists(ctx, account, mailbox)
	if err == nil && !exists && !create {
		err = store.ErrNoMailbox
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func mailboxExists(ctx context.Context, account *store.Account, mailbox string) (bool, error) {
	d, err := account.Deliver(ctx, mailbox)
	switch {
	case errors.Is(err, store.ErrNoMailbox) || errors.Is(err, store.ErrName):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, d.Abort()
}
