package rtc

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	rtpHeaderBytes = 12
	maxTagBytes    = 16   // of GCM; AES-CM with HMAC-SHA1 has 10
	maxRTPBytes    = 1500 // header, payload and tag; more does not fit a datagram anyway
)

var (
	errTooOld      = errors.New("rtc: sequence number before the first one")
	errUnknownSSRC = errors.New("rtc: SSRC was not negotiated")
)

// outbound protects what goes to the peer.
type outbound struct {
	profile string

	mu      sync.Mutex // guards what follows
	gcm     *gcmSealer
	rtp     *srtp.Context // instead of gcm, for profiles without it
	rtcp    *srtp.Context
	streams []outStream
	header  rtp.Header // scratch
}

// outStream is what packets of one SSRC need: its roll-over state (RFC 3711,
// section 3.3.1) and the header extensions of its m-line.
type outStream struct {
	ssrc    uint32
	ext     extensionIDs
	roc     uint32
	highest uint16
	started bool
}

// newContexts derives the keys of both ways from a finished handshake, in which
// we were the DTLS client or not.
func newContexts(conn *dtls.Conn, client bool, streams []outStream) (*outbound, *srtp.Context, error) {
	state, ok := conn.ConnectionState()
	profile, chosen := conn.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return nil, nil, errors.New("rtc: the peer does not speak SRTP")
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, client); err != nil {
		return nil, nil, fmt.Errorf("exporting SRTP keys: %w", err)
	}
	k := cfg.Keys
	in, err := srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, cfg.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, nil, fmt.Errorf("making the receiving SRTP context: %w", err)
	}
	out, err := newOutbound(cfg.Profile, k.LocalMasterKey, k.LocalMasterSalt, streams)
	if err != nil {
		return nil, nil, fmt.Errorf("making the sending SRTP context: %w", err)
	}
	return out, in, nil
}

func newOutbound(profile srtp.ProtectionProfile, key, salt []byte, streams []outStream) (*outbound, error) {
	o := &outbound{profile: profile.String(), streams: streams}
	var err error
	if o.rtcp, err = srtp.CreateContext(key, salt, profile); err != nil {
		return nil, err
	}
	if profile == srtp.ProtectionProfileAeadAes128Gcm || profile == srtp.ProtectionProfileAeadAes256Gcm {
		o.gcm, err = newGCMSealer(key, salt)
	} else {
		o.rtp, err = srtp.CreateContext(key, salt, profile)
	}
	return o, err
}

// seal appends the protected packet to dst, which must have room for it, and
// returns the packet alone. It does not allocate.
func (o *outbound) seal(dst []byte, h *Header, prefix, payload []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.streamLocked(h.SSRC)
	if st == nil {
		return nil, errUnknownSSRC
	}
	roc, err := st.next(h.SequenceNumber)
	if err != nil {
		return nil, err
	}
	const extensionBit = 0x10
	head := rtpHeaderBytes
	if h.Transport || h.Descriptor != nil {
		head += st.ext.size(h)
	}
	d := dst[:head+len(prefix)+len(payload)]
	d[0], d[1] = 0x80, h.PayloadType&0x7f
	if h.Marker {
		d[1] |= 0x80
	}
	binary.BigEndian.PutUint16(d[2:], h.SequenceNumber)
	binary.BigEndian.PutUint32(d[4:], h.Timestamp)
	binary.BigEndian.PutUint32(d[8:], h.SSRC)
	if head > rtpHeaderBytes {
		d[0] |= extensionBit
		st.ext.put(d[rtpHeaderBytes:head], h)
	}
	copy(d[head:], prefix)
	copy(d[head+len(prefix):], payload)
	if o.gcm != nil {
		return o.gcm.seal(d, head, roc, h), nil
	}
	// The context keeps a roll-over counter of its own, from the same numbers.
	return o.rtp.EncryptRTP(d, d, &o.header)
}

func (o *outbound) streamLocked(ssrc uint32) *outStream {
	for i := range o.streams {
		if o.streams[i].ssrc == ssrc {
			return &o.streams[i]
		}
	}
	return nil
}

// next returns the roll-over counter for seq. A number up to half the range
// behind the highest one is an earlier packet, sent again.
func (st *outStream) next(seq uint16) (uint32, error) {
	switch ahead := int16(seq - st.highest); {
	case !st.started:
		st.started, st.highest = true, seq
	case ahead >= 0:
		if seq < st.highest {
			st.roc++
		}
		st.highest = seq
	case seq > st.highest:
		if st.roc == 0 {
			return 0, errTooOld
		}
		return st.roc - 1, nil
	}
	return st.roc, nil
}

// sealRTCP protects a compound packet.
func (o *outbound) sealRTCP(pkts []rtcp.Packet) ([]byte, error) {
	plain, err := rtcp.Marshal(pkts)
	if err != nil {
		return nil, fmt.Errorf("marshalling RTCP: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	sealed, err := o.rtcp.EncryptRTCP(nil, plain, nil)
	if err != nil {
		return nil, fmt.Errorf("encrypting RTCP: %w", err)
	}
	return sealed, nil
}

// gcmSealer is AEAD_AES_128_GCM or AEAD_AES_256_GCM for RTP (RFC 7714).
type gcmSealer struct {
	aead  cipher.AEAD
	salt  [12]byte
	nonce [12]byte // scratch: a local one would escape
}

// newGCMSealer derives the session key and salt (RFC 3711, section 4.3; the
// salt is padded to 14 bytes as RFC 7714, section 11, says).
func newGCMSealer(masterKey, masterSalt []byte) (*gcmSealer, error) {
	const labelKey, labelSalt = 0, 2
	master, err := aes.NewCipher(masterKey)
	if err != nil {
		return nil, fmt.Errorf("SRTP master key: %w", err)
	}
	g := &gcmSealer{}
	session, err := aes.NewCipher(derive(master, masterSalt, labelKey, len(masterKey)))
	if err != nil {
		return nil, fmt.Errorf("SRTP session key: %w", err)
	}
	if g.aead, err = cipher.NewGCM(session); err != nil {
		return nil, fmt.Errorf("SRTP session cipher: %w", err)
	}
	copy(g.salt[:], derive(master, masterSalt, labelSalt, len(g.salt)))
	return g, nil
}

// derive is the key derivation function with a derivation rate of 0.
func derive(master cipher.Block, salt []byte, label byte, n int) []byte {
	const labelAt = 7 // of the 14 bytes of key_id, left of the 48-bit index
	var x [aes.BlockSize]byte
	copy(x[:14], salt)
	x[labelAt] ^= label
	out := make([]byte, 0, n+aes.BlockSize)
	for i := uint16(0); len(out) < n; i++ {
		binary.BigEndian.PutUint16(x[14:], i)
		var block [aes.BlockSize]byte
		master.Encrypt(block[:], x[:])
		out = append(out, block[:]...)
	}
	return out[:n]
}

// seal encrypts the packet in place, but for its first bytes, and appends the tag
// (RFC 7714, section 8.1).
func (g *gcmSealer) seal(packet []byte, head int, roc uint32, h *Header) []byte {
	n := &g.nonce
	n[0], n[1] = 0, 0
	binary.BigEndian.PutUint32(n[2:], h.SSRC)
	binary.BigEndian.PutUint32(n[6:], roc)
	binary.BigEndian.PutUint16(n[10:], h.SequenceNumber)
	for i := range n {
		n[i] ^= g.salt[i]
	}
	body := g.aead.Seal(packet[head:head], n[:], packet[head:], packet[:head])
	return packet[:head+len(body)]
}
