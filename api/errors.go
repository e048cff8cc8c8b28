package api

import (
	"net/http"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/storage/playback"
)

// Sentences that stand for errors of more than one floor.
const (
	sayForbidden  = "This token does not give the right to do that."
	sayTooLarge   = "The file is too large."
	sayNoSpace    = "The room has no space left for files."
	sayDigest     = "The file differs from its digest. Nothing was kept."
	saySuperseded = "The upload goes on elsewhere."
	sayBadFile    = "Name, size or digest of the file is missing or malformed."
	sayNotHere    = "There is no such thing here."
	saySlow       = "Too much at once."
)

// later is when a client should come again after a refusal for want of room.
const later = 10 * time.Second

// knownErrors lists the errors of lower floors that clients may be told. A
// function, since a table would be a package variable; it runs for errors only.
func knownErrors() []known {
	return append(roomErrors(), []known{
		{rtc.ErrClosed, errStopping()},
		{access.ErrNotFound, fail(http.StatusNotFound, "not_found", sayNotHere)},
		{access.ErrRoomClosed, errRoomClosed()},
		{access.ErrTooMany, failLater(http.StatusServiceUnavailable, "too_many", "There are as many of these as there may be.", later)},
		{access.ErrBadClaims, fail(http.StatusBadRequest, "bad_claims", "There can be no such token.")},
		{storage.ErrNotFound, fail(http.StatusNotFound, "not_found", sayNotHere)},
		{storage.ErrBadName, fail(http.StatusNotFound, "not_found", sayNotHere)},
		{storage.ErrLive, fail(http.StatusConflict, "recording_live", "The lecture is still being recorded.")},
		{storage.ErrTooLarge, fail(http.StatusRequestEntityTooLarge, "file_too_large", sayTooLarge)},
		{storage.ErrQuota, fail(http.StatusInsufficientStorage, "quota", sayNoSpace)},
		{storage.ErrDiskFull, fail(http.StatusInsufficientStorage, "disk_full", "The server has no space left.")},
		{storage.ErrTooMany, failLater(http.StatusTooManyRequests, "busy", saySlow, later)},
		{storage.ErrDigest, fail(http.StatusUnprocessableEntity, "digest_mismatch", sayDigest)},
		{storage.ErrIncomplete, fail(http.StatusBadRequest, "incomplete_body", sayCutShort)},
		{storage.ErrOffset, fail(http.StatusConflict, "superseded", saySuperseded)},
		{storage.ErrSuperseded, fail(http.StatusConflict, "superseded", saySuperseded)},
		{playback.ErrNotFound, fail(http.StatusNotFound, "not_found", sayNotHere)},
		{playback.ErrNotReady, failLater(http.StatusServiceUnavailable, "recording_young", "Nothing can be played yet.", time.Second)},
		{playback.ErrUnsupported, fail(http.StatusNotImplemented, "unsupported_export", "What was recorded cannot be put into this form on this server.")},
		{storage.ErrBadHead, fail(http.StatusBadRequest, "bad_file", sayBadFile)},
	}...)
}

// roomErrors are those of rooms.
func roomErrors() []known {
	return []known{
		{room.ErrBadName, fail(http.StatusBadRequest, "bad_name", sayBadName)},
		{room.ErrSlotTaken, fail(http.StatusConflict, "slot_taken", "Somebody else is publishing this stream.")},
		{room.ErrClassRunning, fail(http.StatusConflict, "class_running", "A class is on already.")},
		{room.ErrNoClass, fail(http.StatusConflict, "no_class", "No class is on.")},
		{room.ErrForbidden, fail(http.StatusForbidden, "forbidden", sayForbidden)},
		{room.ErrFull, failLater(http.StatusServiceUnavailable, "room_full", "The room holds as many people as it may.", later)},
		{room.ErrTooMany, failLater(http.StatusServiceUnavailable, "too_many", "There are as many rooms or streams as there may be.", later)},
		{room.ErrClosed, errStopping()},
		{room.ErrFilesClosed, fail(http.StatusForbidden, "files_closed", "Students cannot share files in this room.")},
		{room.ErrNoFiles, fail(http.StatusNotImplemented, "no_files", "This server does not share files.")},
		{room.ErrBadFile, fail(http.StatusBadRequest, "bad_file", sayBadFile)},
		{room.ErrFileNotFound, fail(http.StatusNotFound, "not_found", sayNotHere)},
		{room.ErrFileTooLarge, fail(http.StatusRequestEntityTooLarge, "file_too_large", sayTooLarge)},
		{room.ErrQuota, fail(http.StatusInsufficientStorage, "quota", sayNoSpace)},
		{room.ErrDigest, fail(http.StatusUnprocessableEntity, "digest_mismatch", sayDigest)},
		{room.ErrBusy, failLater(http.StatusTooManyRequests, "busy", saySlow, later)},
		{room.ErrReplaced, fail(http.StatusConflict, "superseded", saySuperseded)},
		{room.ErrNotKept, failLater(http.StatusServiceUnavailable, "not_kept", "The server could not keep that. Try again.", time.Second)},
	}
}
