package httpapi

import (
	"context"
	"net/http"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// leave removes a node from the cluster for good. The content type has to be said:
// a page in somebody's browser can send a body without one to any address, and one
// that is JSON only if the server agrees, which this one never does.
func (s *Server) leave(w http.ResponseWriter, r *http.Request) error {
	if len(r.Header["Content-Type"]) == 0 {
		return newRequestError(http.StatusUnsupportedMediaType, codeMediaType, "the content type must be said: %s", mediaJSON)
	}
	if err := wantsJSON(r.Header); err != nil {
		return err
	}
	var request wire.Leave
	err := s.withBody(w, r, func(in *intake) (err error) {
		request, err = in.decoder.Leave(in.body)
		return err
	})
	if err != nil {
		return err
	}
	var departed oncelog.Departure
	err = s.within(r, func(ctx context.Context) (err error) {
		departed, err = s.cfg.Log.Leave(ctx, request.Node, request.Force)
		return err
	})
	if err != nil {
		return err
	}
	text, err := wire.AppendDeparture(nil, &departed)
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, text)
	return nil
}
