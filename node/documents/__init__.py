"""Documents made from what actually ran: notice, processing record, impact assessment, reports, inventory."""
