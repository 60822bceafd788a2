package services

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// What service.* of RPC says: service.v1 of RoadRunner. messages.go has how it is written.

// CreateRequest is service.v1.Create. What it leaves out is nothing: RoadRunner's defaults are those of its configuration alone.
type CreateRequest struct {
	Name             string            `json:"name"`
	Command          string            `json:"command"` // split on spaces
	ProcessNum       int64             `json:"process_num"`
	ExecTimeout      int64             `json:"exec_timeout"` // in seconds
	RemainAfterExit  bool              `json:"remain_after_exit"`
	Env              map[string]string `json:"env"`
	RestartSec       uint64            `json:"restart_sec"`
	ServiceNameInLog bool              `json:"service_name_in_logs"`
	TimeoutStopSec   uint64            `json:"timeout_stop_sec"`
}

// config is the service in the words of edge.yaml. Bounds of Edge hold for it too.
func (r *CreateRequest) config() (Config, error) {
	if r.Name == "" {
		return Config{}, fmt.Errorf("a service needs a name")
	}
	if r.ProcessNum < 1 {
		return Config{}, fmt.Errorf("the service with %s name should have at least 1 process", r.Name)
	}
	c := DefaultConfig()
	c.Command = strings.Fields(r.Command)
	c.Env = r.Env
	c.Processes = int(min(r.ProcessNum, math.MaxInt32))
	c.ExecTimeout = seconds(uint64(max(0, r.ExecTimeout)))
	c.Restart = restartNever
	if r.RemainAfterExit {
		c.Restart = restartAlways // so it reads in RoadRunner
	}
	c.Backoff.Min = max(shortestBackoff, seconds(r.RestartSec))
	c.Backoff.Max = c.Backoff.Min
	c.StopSignal = "INT"
	if r.TimeoutStopSec > 0 {
		c.StopTimeout = seconds(r.TimeoutStopSec)
	}
	if r.ServiceNameInLog {
		c.Channel = r.Name
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("service %s: %w", r.Name, err)
	}
	return c, nil
}

// seconds bounds what may come from anywhere.
func seconds(n uint64) time.Duration { return time.Duration(min(n, 1<<31)) * time.Second }

// Named is service.v1.Service.
type Named struct {
	Name string `json:"name"`
}

// Response is service.v1.Response.
type Response struct {
	Message string `json:"message"`
	OK      bool   `json:"ok"`
}

// Status is service.v1.Status: one process.
type Status struct {
	CPUPercent  float32  `json:"cpu_percent"`
	PID         int32    `json:"pid"`
	MemoryUsage uint64   `json:"memory_usage"`
	Command     string   `json:"command"`
	Status      *Problem `json:"status"` // nil while it runs
}

// Problem is common.v1.Status: why a process does not run.
type Problem struct {
	Code    int32  `json:"code"`
	Message string `json:"message"`
}

// Statuses is service.v1.Statuses.
type Statuses struct {
	Status []*Status `json:"status"`
}

// List is service.v1.List.
type List struct {
	Services []string `json:"services"`
}

// RPC is what PHP may call, one Go method for each of the service's.
type RPC struct{ m *Manager }

// RPC returns the calls.
func (m *Manager) RPC() RPC { return RPC{m} }

// Create starts a service.
func (r RPC) Create(_ context.Context, in CreateRequest) (*Response, error) {
	c, err := in.config()
	if err == nil {
		err = r.m.Create(in.Name, c)
	}
	return answer(err)
}

// Terminate stops a service and forgets it.
func (r RPC) Terminate(ctx context.Context, in Named) (*Response, error) {
	return answer(r.m.Terminate(ctx, in.Name))
}

// Restart stops a service and starts it again.
func (r RPC) Restart(ctx context.Context, in Named) (*Response, error) {
	return answer(r.m.Restart(ctx, in.Name))
}

func answer(err error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	return &Response{OK: true}, nil
}

// Status describes the last process of a service.
func (r RPC) Status(ctx context.Context, in Named) (*Status, error) {
	all, err := r.Statuses(ctx, in)
	if err != nil {
		return nil, err
	}
	return all.Status[len(all.Status)-1], nil
}

// Statuses describes the processes of a service.
func (r RPC) Statuses(_ context.Context, in Named) (*Statuses, error) {
	s, there := r.m.look()[in.Name]
	if !there {
		return nil, unknown(in.Name)
	}
	stats := s.stats()
	out := &Statuses{}
	for _, p := range stats.Processes {
		status := &Status{PID: int32(p.PID), MemoryUsage: uint64(p.Memory), Command: stats.Command}
		if p.PID == 0 {
			status.Status = &Problem{Message: p.Problem}
		} else if age := time.Since(p.Started); age > 0 {
			status.CPUPercent = float32(100 * p.Processor.Seconds() / age.Seconds())
		}
		out.Status = append(out.Status, status)
	}
	return out, nil
}

// List names the services.
func (r RPC) List(context.Context, Named) (*List, error) { return &List{Services: r.m.Names()}, nil }
