package main

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const timeout = 5 * time.Second

type client struct{ etcd *clientv3.Client }

func open(endpoint string) (client, error) {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: timeout,
		Logger:      zap.NewNop(),
	})
	return client{etcd}, err
}

func (c client) close() error { return c.etcd.Close() }

func (c client) get(key string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := c.etcd.Get(ctx, key)
	if err != nil {
		return "", err
	}
	if len(answer.Kvs) == 0 {
		return "", errors.New("no such key")
	}
	return string(answer.Kvs[0].Value), nil
}

func (c client) put(key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := c.etcd.Put(ctx, key, value)
	return err
}

func (c client) tas(key, test, set string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := c.etcd.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(key), "=", test)).
		Then(clientv3.OpPut(key, set)).
		Commit()
	if err != nil {
		return false, err
	}
	return answer.Succeeded, nil
}

type pair struct{ key, value string }

// From first to last, both included.
func (c client) getRange(first, last string) ([]pair, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := c.etcd.Get(ctx, first, clientv3.WithRange(last+"\x00"))
	if err != nil {
		return nil, err
	}
	pairs := make([]pair, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		pairs = append(pairs, pair{string(kv.Key), string(kv.Value)})
	}
	return pairs, nil
}

// Registered on return; calls heard for each put of key.
func (c client) watch(key string, heard func()) error {
	answers := c.etcd.Watch(context.Background(), key, clientv3.WithCreatedNotify())
	if created := <-answers; !created.Created {
		return errors.New("the watch was not created")
	}
	go func() {
		for answer := range answers {
			for range answer.Events {
				heard()
			}
		}
	}()
	return nil
}
