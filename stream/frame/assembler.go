package frame

import "github.com/lectern/lectern/stream"

// Assembler makes access units of the units of one Reader.
type Assembler struct{ broken uint64 }

// NewAssembler returns an Assembler.
func NewAssembler() *Assembler { return &Assembler{} }

// Push takes the next unit of the Reader.
func (a *Assembler) Push(_ *stream.Unit) (*AccessUnit, bool) { return nil, false }

// Next returns a further access unit that the last Push completed.
func (a *Assembler) Next() (*AccessUnit, bool) { return nil, false }

// Broken counts the video access units that were lost to holes.
func (a *Assembler) Broken() uint64 { return a.broken }
