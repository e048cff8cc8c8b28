package rtc

// OfferError says why an offer or an ICE fragment cannot be served. Code is
// stable and for machines, Message is for people; neither holds secrets.
type OfferError struct {
	Code    string
	Message string
}

// Error returns the code and the message.
func (e *OfferError) Error() string { return "rtc: " + e.Code + ": " + e.Message }

// The codes of OfferError.
const (
	CodeMalformedSDP     = "malformed_sdp"
	CodeWrongDirection   = "wrong_direction"
	CodeBadICE           = "bad_ice"
	CodeBadFingerprint   = "bad_fingerprint"
	CodeBadSetup         = "bad_setup"
	CodeTooManyTracks    = "too_many_tracks"
	CodeNoMedia          = "no_media"
	CodeNoUsableCodec    = "no_usable_codec"
	CodeNoBundle         = "no_bundle"
	CodeNoRTCPMux        = "no_rtcp_mux"
	CodeUnsupportedMedia = "unsupported_media"
	CodeBadFragment      = "bad_fragment"
)

// Offer is a validated offer. It is immutable.
type Offer struct{}

// ParseOffer reads and validates an offer. Whatever is wrong with it comes back
// as an *OfferError. It never panics.
func ParseOffer(sdp []byte, dir Direction) (*Offer, error) { panic("unfinished") }

// Direction returns the direction the offer was validated for.
func (o *Offer) Direction() Direction { panic("unfinished") }

// HasData says whether data channels are offered beside the media.
func (o *Offer) HasData() bool { panic("unfinished") }

// Codecs returns what the answer will hold for kind (Audio or Video), in the
// order of the offer; nil if there is no such m-line.
func (o *Offer) Codecs(kind string) []Codec { panic("unfinished") }
