package storage_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		childRecords(dir) // until it is killed
		return
	}
	goleak.VerifyTestMain(m)
}
