<?php

namespace App\Providers;

use Illuminate\Auth\GenericUser;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\ServiceProvider;

class BroadcastServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        // Who is signed in is what a header says: this is a test.
        config(['auth.guards.header' => ['driver' => 'header'], 'auth.defaults.guard' => 'header']);
        Auth::viaRequest('header', static fn ($request) => $request->header('X-User') === null ? null : new GenericUser(['id' => $request->header('X-User')]));
        Broadcast::routes(['middleware' => ['api']]);
        require base_path('routes/channels.php');
    }
}
