// One instance with fargo, in JSON or XML. Takes orders on standard input, one a line, and prints what the client itself
// sees as JSON, one line a change. fargo renews and reads when it is told to, and has no call that ends an override.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hudl/fargo"
	"github.com/op/go-logging"
)

var saying sync.Mutex

func say(what map[string]any) {
	saying.Lock()
	defer saying.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(what); err != nil {
		os.Exit(1)
	}
}

func main() {
	logging.SetBackend(logging.NewLogBackend(os.Stderr, "", 0))
	given := map[string]string{}
	for _, arg := range os.Args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		given[key] = value
	}
	number := func(key string) int {
		value, err := strconv.Atoi(given[key])
		if err != nil {
			panic(err)
		}
		return value
	}
	connection := fargo.NewConn(strings.TrimRight(given["url"], "/"))
	connection.UseJson = given["xml"] != "true"
	described := fargo.Instance{
		InstanceId: given["id"], HostName: given["host"], App: given["app"], IPAddr: "127.0.0.1",
		VipAddress: given["vip"], Status: fargo.UP, Port: number("port"), PortEnabled: true,
		DataCenterInfo: fargo.DataCenterInfo{Name: fargo.MyOwn},
		LeaseInfo: fargo.LeaseInfo{
			RenewalIntervalInSecs: int32(number("interval")), DurationInSecs: int32(number("lease")),
		},
	}
	// A registration reads what the server has into its instance, so each has a copy of its own.
	register := func() error {
		instance := described
		return connection.ReregisterInstance(&instance)
	}
	first := described
	for connection.RegisterInstance(&first) != nil {
		time.Sleep(time.Second)
	}
	done := make(chan struct{})
	var loops sync.WaitGroup
	every := func(pause time.Duration, work func()) {
		loops.Add(1)
		go func() {
			defer loops.Done()
			ticks := time.NewTicker(pause)
			defer ticks.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticks.C:
					work()
				}
			}
		}()
	}
	every(time.Duration(number("interval"))*time.Second, func() {
		err := connection.HeartBeatInstance(&described)
		if status, known := fargo.HTTPResponseStatusCode(err); known && status == 404 {
			_ = register() // The next heartbeat tells whether it was.
		}
	})
	var last [][]any
	every(time.Second, func() {
		applications, err := connection.GetApps()
		if err != nil {
			return
		}
		view := [][]any{}
		for name, application := range applications {
			for _, one := range application.Instances {
				view = append(view, []any{name, one.InstanceId, string(one.Status), one.HostName, one.Port})
			}
		}
		sort.Slice(view, func(i, j int) bool { return view[i][1].(string) < view[j][1].(string) })
		if !reflect.DeepEqual(view, last) {
			last = view
			say(map[string]any{"view": view})
		}
	})
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		if orders.Text() == "quit" {
			break
		}
	}
	close(done)
	loops.Wait()
	if err := connection.DeregisterInstance(&described); err != nil {
		say(map[string]any{"did": "quit", "error": err.Error()})
		return
	}
	say(map[string]any{"did": "quit"})
}
