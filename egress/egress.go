// Package egress is the floor of the ways out: how a stream reaches those who
// watch. Each way is a package of its own: whep for browsers, rtmp and rtsp for
// legacy players, transcode for the renditions that those can decode.
//
// All ways obey the same rules. They pull from a stream.Reader and never make
// the publisher wait. A receiver that lags loses pictures up to the next
// keyframe; one that stands still is cut off. The publisher may go and come
// back: receivers stay and see one unbroken timeline.
package egress
