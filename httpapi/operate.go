package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/oncelog/oncelog"
	"github.com/oncelog/oncelog/httpapi/wire"
)

// stats answers the log's statistics.
func (s *Server) stats(w http.ResponseWriter, r *http.Request) error {
	stats, err := s.readStats(r)
	if err != nil {
		return err
	}
	text, err := wire.AppendStats(nil, &stats)
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, text)
	return nil
}

// topics answers the topics with their counts.
func (s *Server) topics(w http.ResponseWriter, r *http.Request) error {
	stats, err := s.readStats(r)
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, wire.AppendTopics(nil, stats.Topics))
	return nil
}

func (s *Server) readStats(r *http.Request) (stats oncelog.Stats, err error) {
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return stats, err
	}
	p, err := newParams(r, "consistency")
	if err != nil {
		return stats, err
	}
	c, err := p.consistency()
	if err != nil {
		return stats, err
	}
	err = s.within(r, func(ctx context.Context) error {
		stats, err = s.cfg.Log.Stats(ctx, c)
		return err
	})
	return stats, err
}

// within calls ask with the request's deadline.
func (s *Server) within(r *http.Request, ask func(context.Context) error) error {
	timeout, err := s.timeout(r.Header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	return asUnavailable(ask(ctx))
}

// withBody reads the body of an operator's request and has it decoded.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request, decode func(*intake) error) error {
	in, c := s.getIntake(), claim{budget: s.memory}
	defer s.putIntake(in)
	defer c.release()
	if err := s.readBody(w, r, in, &c); err != nil {
		return err
	}
	return decode(in)
}

// cluster answers who is in the group.
func (s *Server) cluster(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return err
	}
	var cluster oncelog.Cluster
	err := s.within(r, func(ctx context.Context) (err error) {
		cluster, err = s.cfg.Log.Cluster(ctx)
		return err
	})
	if err != nil {
		return err
	}
	text, err := wire.AppendCluster(nil, &cluster)
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, text)
	return nil
}

// transferLeadership hands the leader's part to another node.
func (s *Server) transferLeadership(w http.ResponseWriter, r *http.Request) error {
	if err := wantsJSON(r.Header); err != nil {
		return err
	}
	to := ""
	err := s.withBody(w, r, func(in *intake) (err error) {
		if len(in.body) > 0 {
			to, err = in.decoder.Transfer(in.body)
		}
		return err
	})
	if err != nil {
		return err
	}
	leader := ""
	err = s.within(r, func(ctx context.Context) (err error) {
		leader, err = s.cfg.Log.TransferLeadership(ctx, to)
		return err
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, wire.AppendLeader(nil, leader))
	return nil
}

var okAnswer = []byte(`{"status":"ok"}`)

// live says that the process works, and nothing of the log behind it.
func (s *Server) live(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return err
	}
	s.write(w, http.StatusOK, jsonType, okAnswer)
	return nil
}

// ready says whether the node can serve.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaJSON); err != nil {
		return err
	}
	err := s.within(r, s.cfg.Log.Ready)
	if err != nil {
		notReady := newRequestError(http.StatusServiceUnavailable, wire.CodeNotReady, "%v", err)
		notReady.Outcome, notReady.Retryable = wire.OutcomeNotApplied, true
		return notReady
	}
	s.write(w, http.StatusOK, jsonType, okAnswer)
	return nil
}

const homeText = `This is oncelog, node %q: an event log that stores every event exactly once.

POST /publish        one event          POST /publish/batch  an array, or a line each as application/x-ndjson
GET  /events         what is stored     GET  /events/{id}    one of them
GET  /topics         GET  /stats        GET  /cluster        POST /cluster/transfer-leadership
GET  /livez          GET  /readyz                         POST /cluster/leave

curl http://%s/publish --json '{"topic":"order","event_id":"1","timestamp":"2025-12-19T06:36:16Z","source":"me","payload":{}}'
`

// home tells a person what this is and where to go.
func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	if _, err := accept(r.Header, mediaText); err != nil {
		return err
	}
	s.write(w, http.StatusOK, textType, fmt.Appendf(nil, homeText, s.cfg.Node, r.Host))
	return nil
}
