package main

import "context"

func faultTable(ctx context.Context, parent, bin, only string) error { return nil }
